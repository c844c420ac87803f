// (I - z f')^-1 by LU with partial pivoting, for a dense f'.
#pragma once

#include <Eigen/LU>

#include "grokflow/flow.hpp"

namespace grokflow {

template <class Scalar>
class LuSolver final : public ShiftedSolver<Scalar> {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  LuSolver(Index size, Stats& stats) : matrix_(size, size), lu_(size), x_(size), stats_(stats) {}

  bool factor(const Matrix& jacobian, Scalar z) {
    ++stats_.nfactor;
    matrix_ = -z * jacobian.cast<Scalar>();
    matrix_.diagonal().array() += Scalar(1);
    if (!matrix_.allFinite()) return false;
    lu_.compute(matrix_);
    return (lu_.matrixLU().diagonal().array() != Scalar(0)).all();
  }

  bool solve(Eigen::Ref<VectorS> v) override {
    ++stats_.nsolve;
    x_ = lu_.solve(v);
    v = x_;
    return true;
  }

 private:
  MatrixS matrix_;
  Eigen::PartialPivLU<MatrixS> lu_;
  VectorS x_;
  Stats& stats_;
};

}  // namespace grokflow
