// Weight decay, uniform or by parameter block: D = diag(lam_b).
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// Parameters that share one rate are a group; the kernel K = J J^T splits into one K_g per group.
class Decay {
 public:
  struct Range {
    Index begin, end;
  };
  struct Group {
    double rate;
    std::vector<Range> ranges;
  };

  /// The same rate for all d parameters.
  Decay(Index num_params, double rate);
  /// One rate for each consecutive range; the ranges tile 0..d in order.
  explicit Decay(const std::vector<std::pair<Range, double>>& rates);

  Index num_params() const;
  /// Throws std::invalid_argument unless there is a rate for each of `num_params`.
  void require_size(Index num_params) const;

  const std::vector<Group>& groups() const { return groups_; }
  double max_rate() const;

  /// Becomes `factor` times `other`, which has the same groups.
  void assign(double factor, const Decay& other);

  /// out += factor * D v
  template <class V, class Out>
  void add_product(double factor, const V& v, Out&& out) const {
    for (const Group& group : groups_)
      for (const Range& range : group.ranges)
        out.segment(range.begin, range.end - range.begin) +=
            (factor * group.rate) * v.segment(range.begin, range.end - range.begin);
  }

  /// v <- (I + z D)^-1 v
  template <class Scalar, class V>
  void divide(Scalar z, V&& v) const {
    scale(v, [z](double rate) { return Scalar(1) / (Scalar(1) + z * rate); });
  }

  /// v <- (I + z D)^-1/2 v
  template <class Scalar, class V>
  void divide_by_root(Scalar z, V&& v) const {
    scale(v, [z](double rate) { return Scalar(1) / std::sqrt(Scalar(1) + z * rate); });
  }

 private:
  template <class V, class Factor>
  void scale(V&& v, Factor&& factor) const {
    for (const Group& group : groups_)
      for (const Range& range : group.ranges)
        v.segment(range.begin, range.end - range.begin) *= factor(group.rate);
  }

  std::vector<Group> groups_;
};

}  // namespace grokflow
