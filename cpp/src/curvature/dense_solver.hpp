// (I - z f')^-1 for a dense f', as ((-f') + I/z)^-1 / z.
#pragma once

#include "grokflow/flow.hpp"
#include "numerics/shifted_factor.hpp"

namespace grokflow {

template <class Scalar, Factorisation kind>
class DenseSolver final : public ShiftedSolver<Scalar> {
 public:
  DenseSolver(Index size, Stats& stats) : factor_(size), stats_(stats) {}

  /// Takes -f', the `version`-th. A matrix that cannot be factored is told by the first solve that needs it:
  /// at rest there is none.
  bool factor(const Matrix& minus_jacobian, Scalar z, long version) {
    z_ = z;
    factored_ = factor_.prepare(minus_jacobian, Scalar(1) / z, version, stats_.nfactor);
    return true;
  }

  bool solve(Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> v) override {
    ++stats_.nsolve;
    if (!factored_) return (v.array() == Scalar(0)).all();
    factor_.solve(v);
    v *= Scalar(1) / z_;
    return true;
  }

  bool exact() const override { return factored_ && factor_.exact(); }
  void state(Archive& archive) override { factor_.state(archive); }

 private:
  ShiftedFactor<Scalar, kind> factor_;
  Scalar z_{};
  bool factored_ = false;
  Stats& stats_;
};

}  // namespace grokflow
