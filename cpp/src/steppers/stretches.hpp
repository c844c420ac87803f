// One pass over vectors that do several things at once.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "numerics/parallel.hpp"

namespace grokflow {

/// A long vector cut into tiles that stay in the first-level cache while all that a pass does is done to them.
class Stretches {
 public:
  static constexpr Index kTile = 512;                                  // entries
  using Tile = Eigen::Matrix<double, Eigen::Dynamic, 1, 0, kTile, 1>;  // on the stack

  explicit Stretches(Index size)
      : size_(size), sums_(static_cast<std::size_t>((size + kStretch - 1) / kStretch)) {}

  /// The sum of work(begin, count) over tiles that make up the vector: on several threads where `operations` an
  /// entry are worth it, and in the same order always.
  template <class Work>
  double sum(double operations, Work&& work) {
    parallel_for(static_cast<Index>(sums_.size()), operations * static_cast<double>(size_), [&](Index k) {
      const Index end = std::min(size_, (k + 1) * kStretch);
      double sum = 0.0;
      for (Index begin = k * kStretch; begin < end; begin += kTile)
        sum += work(begin, std::min(kTile, end - begin));
      sums_[static_cast<std::size_t>(k)] = sum;
    });
    return std::accumulate(sums_.begin(), sums_.end(), 0.0);
  }

 private:
  static constexpr Index kStretch = 32 * kTile;

  Index size_;
  std::vector<double> sums_;  // one a stretch
};

}  // namespace grokflow
