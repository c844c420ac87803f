// (S + s I)^-1 in kernel space, S = sum_g weight_g K_g, for real and for complex weights.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <type_traits>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// A factorisation of the shifted kernel that survives a small change of the shift: while the new shift stays
/// near the factored one, a solve with the old factor and one step of refinement with the new matrix cost n^2
/// instead of n^3 and leave an error of (shift ratio - 1)^2 in the worst direction.
template <class Scalar>
class KernelFactor {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  static constexpr bool real = std::is_same_v<Scalar, double>;
  using Decomposition = std::conditional_t<real, Eigen::LLT<MatrixS>, Eigen::PartialPivLU<MatrixS>>;

 public:
  explicit KernelFactor(Index n) : matrix_(n, n), decomposition_(n), b_(n), x_(n) {}

  /// Takes the kernels at point number `point` with these weights. Counts in `nfactor` what it factors.
  bool prepare(const std::vector<Matrix>& kernels, const std::vector<Scalar>& weights, Scalar shift, long point,
               std::int64_t& nfactor) {
    const bool same_kernel = point == point_ && kernels.size() == 1;
    kernel_ = &kernels.front();
    shift_ = shift;
    refine_ = same_kernel && shift != factored_shift_;
    if (same_kernel && std::abs(shift / factored_shift_ - 1.0) <= kMaxDrift) return true;
    refine_ = false;
    point_ = -1;
    factored_shift_ = shift;
    matrix_ = weights.front() * kernels.front();
    for (std::size_t g = 1; g < kernels.size(); ++g) matrix_ += weights[g] * kernels[g];
    matrix_.diagonal().array() += shift;
    if (!matrix_.allFinite()) return false;
    ++nfactor;
    decomposition_.compute(matrix_);
    if constexpr (real) {
      if (decomposition_.info() != Eigen::Success) return false;
    }
    point_ = point;
    return true;
  }

  /// v <- (S + s I)^-1 v
  void solve(Eigen::Ref<VectorS> v) {
    if (!refine_) return solve_factored(v);
    b_ = v;
    solve_factored(v);
    x_ = v;
    b_.noalias() -= *kernel_ * x_;
    b_ -= shift_ * x_;
    solve_factored(b_);
    v += b_;
  }

 private:
  static constexpr double kMaxDrift = 0.3;

  void solve_factored(Eigen::Ref<VectorS> v) {
    if constexpr (real) {
      decomposition_.solveInPlace(v);
    } else {
      y_ = decomposition_.solve(v);
      v = y_;
    }
  }

  MatrixS matrix_;
  Decomposition decomposition_;
  VectorS b_, x_, y_;
  const Matrix* kernel_ = nullptr;
  Scalar shift_{}, factored_shift_{};
  long point_ = -1;  // the point whose kernel is factored
  bool refine_ = false;
};

}  // namespace grokflow
