// (I - z f')^-1 for a dense f', as ((-f') + I/z)^-1 / z.
#pragma once

#include "grokflow/flow.hpp"
#include "numerics/shifted_factor.hpp"

namespace grokflow {

template <class Scalar, Factorisation kind>
class DenseSolver final : public ShiftedSolver<Scalar> {
 public:
  DenseSolver(Index size, Stats& stats) : factor_(size), stats_(stats) {}

  /// Takes -f', the `version`-th.
  bool factor(const Matrix& minus_jacobian, Scalar z, long version) {
    z_ = z;
    return factor_.prepare(minus_jacobian, Scalar(1) / z, version, stats_.nfactor);
  }

  bool solve(Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> v) override {
    ++stats_.nsolve;
    factor_.solve(v);
    v *= Scalar(1) / z_;
    return true;
  }

  bool exact() const override { return factor_.exact(); }

 private:
  ShiftedFactor<Scalar, kind> factor_;
  Scalar z_{};
  Stats& stats_;
};

}  // namespace grokflow
