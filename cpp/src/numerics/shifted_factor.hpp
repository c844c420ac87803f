// (S + s I)^-1 for one matrix S and many shifts s.
#pragma once

#include <Eigen/LU>
#include <cmath>
#include <type_traits>

#include "grokflow/types.hpp"
#include "numerics/symmetric_cholesky.hpp"

namespace grokflow {

enum class Factorisation { cholesky, lu };

/// A factorisation that survives a small change of the shift: while the new shift stays near the factored
/// one, a solve with the old factor and one step of refinement with the new matrix cost n^2 instead of n^3,
/// and leave an error of (shift ratio - 1)^2 in the worst direction. Small matrices are always factored anew.
/// Cholesky notices when a real matrix is not positive definite.
template <class Scalar, Factorisation kind>
class ShiftedFactor {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  static constexpr bool cholesky = kind == Factorisation::cholesky;
  using InPlace = Eigen::Ref<MatrixS>;
  using Decomposition = std::conditional_t<cholesky, SymmetricCholesky<Scalar>, Eigen::PartialPivLU<InPlace>>;

 public:
  explicit ShiftedFactor(Index n)
      : matrix_(MatrixS::Identity(n, n)), decomposition_(matrix_), b_(n), x_(n), part_(n), product_(n) {}

  /// Prepares for S + shift I. `version` tells one S from another; S must live until the last solve. Counts
  /// in `nfactor` what it factors. False: singular, or not positive definite.
  bool prepare(const Matrix& S, Scalar shift, long version, std::int64_t& nfactor) {
    S_ = &S;
    shift_ = shift;
    const double drift = matrix_.rows() < kCheap ? 0.0 : kMaxDrift;
    if (version == version_ && std::abs(shift / factored_shift_ - 1.0) <= drift) return true;
    if (!factor(S, shift, nfactor)) return false;
    version_ = version;
    return true;
  }

  /// Factors S + shift I; nothing is kept for another shift.
  template <class Source>
  bool factor(const Source& S, Scalar shift, std::int64_t& nfactor) {
    version_ = -1;
    shift_ = factored_shift_ = shift;
    matrix_ = S.template cast<Scalar>();
    matrix_.diagonal().array() += shift;
    if (!matrix_.allFinite()) return false;
    ++nfactor;
    decomposition_.compute(matrix_);
    if constexpr (cholesky)
      return decomposition_.info() == Eigen::Success;
    else
      return (decomposition_.matrixLU().diagonal().array() != Scalar(0)).all();
  }

  /// Whether the shift asked for is the one that is factored.
  bool exact() const { return shift_ == factored_shift_; }

  /// v <- (S + shift I)^-1 v
  void solve(Eigen::Ref<VectorS> v) {
    if (exact()) return solve_factored(v);
    b_ = v;
    solve_factored(v);
    b_ -= shift_ * v;
    if constexpr (std::is_same_v<Scalar, double>) {
      b_.noalias() -= *S_ * v;
    } else {  // real times complex, part by part
      part_ = v.real();
      product_.noalias() = *S_ * part_;
      b_.real() -= product_;
      part_ = v.imag();
      product_.noalias() = *S_ * part_;
      b_.imag() -= product_;
    }
    solve_factored(b_);
    v += b_;
  }

 private:
  static constexpr double kMaxDrift = 0.12;
  static constexpr Index kCheap = 64;

  void solve_factored(Eigen::Ref<VectorS> v) {
    if constexpr (cholesky) {
      decomposition_.solveInPlace(v);
    } else {
      x_ = decomposition_.solve(v);
      v = x_;
    }
  }

  MatrixS matrix_;
  Decomposition decomposition_;  // of matrix_, in its memory
  VectorS b_, x_;
  Vector part_, product_;
  const Matrix* S_ = nullptr;
  Scalar shift_{}, factored_shift_{};
  long version_ = -1;  // of the matrix that is factored
};

}  // namespace grokflow
