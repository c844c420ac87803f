#include "grokflow/decay.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace grokflow {
namespace {

void check_rate(double rate) {
  if (!(rate >= 0.0) || std::isinf(rate))
    throw std::invalid_argument("weight decay must be finite and not negative");
}

}  // namespace

Decay::Decay(Index num_params, double rate) : groups_{{rate, {{0, num_params}}}} { check_rate(rate); }

Decay::Decay(const std::vector<std::pair<Range, double>>& rates) {
  Index end = 0;
  for (const auto& [range, rate] : rates) {
    check_rate(rate);
    if (range.begin != end || range.end <= range.begin)
      throw std::invalid_argument("the ranges of weight decay must follow each other without gaps");
    end = range.end;
    const auto same = [rate = rate](const Group& group) { return group.rate == rate; };
    auto group = std::find_if(groups_.begin(), groups_.end(), same);
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{rate, {}});
    const bool adjacent = !group->ranges.empty() && group->ranges.back().end == range.begin;
    if (adjacent)
      group->ranges.back().end = range.end;
    else
      group->ranges.push_back(range);
  }
  if (groups_.empty()) throw std::invalid_argument("weight decay by range needs at least one range");
}

Index Decay::num_params() const {
  Index end = 0;
  for (const Group& group : groups_) end = std::max(end, group.ranges.back().end);
  return end;
}

void Decay::require_size(Index num_params) const {
  if (this->num_params() != num_params)
    throw std::invalid_argument("weight decay is for " + std::to_string(this->num_params()) +
                                " parameters; the problem has " + std::to_string(num_params));
}

double Decay::max_rate() const {
  double rate = 0.0;
  for (const Group& group : groups_) rate = std::max(rate, group.rate);
  return rate;
}

double Decay::rate(Index param) const {
  for (const Group& group : groups_)
    for (const Range& range : group.ranges)
      if (range.begin <= param && param < range.end) return group.rate;
  throw std::out_of_range("weight decay has no rate for this parameter");
}

double Decay::rate(const Slant& slant) const {
  double sum = 0.0;
  for_entries(slant, [&](Index, double e, double rate) { sum += rate * e * e; });
  return sum;
}

const Decay::Slants& Decay::slants() const {
  static const Slants none;
  return slants_ ? *slants_ : none;
}

/// On what is orthogonal to a slant, along the surfaces, and on the slant itself, so that the sum is symmetric.
void Decay::add_to(MatrixRef A) const {
  for (const Group& group : groups_)
    for (const Range& range : group.ranges)
      A.diagonal().segment(range.begin, range.end - range.begin).array() += group.rate;
  for (const Slant& slant : slants()) {
    const double its_rate = rate(slant);
    for_entries(slant, [&](Index i, double e_i, double rate_i) {
      for_entries(slant, [&](Index j, double e_j, double rate_j) {
        A(i, j) += (2.0 * its_rate - rate_i - rate_j) * e_i * e_j;
      });
    });
  }
}

void Decay::assign(double factor, const Decay& other) {
  check_rate(factor);
  factor_ = factor * other.factor_;
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].rate = factor * other.groups_[g].rate;
}

}  // namespace grokflow
