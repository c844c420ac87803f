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

void Decay::assign(double factor, const Decay& other) {
  check_rate(factor);
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].rate = factor * other.groups_[g].rate;
}

}  // namespace grokflow
