// (S + s I)^-1 for one matrix S and many shifts s.
#pragma once

#include <Eigen/LU>
#include <type_traits>

#include "grokflow/archive.hpp"
#include "numerics/symmetric_cholesky.hpp"

namespace grokflow {

/// A^-1, for a small regular A.
Matrix inverse(const ConstMatrixRef& A);

enum class Factorisation { cholesky, lu };

/// A factorisation that survives a small change of the shift: while the new shift stays near the factored
/// one, a solve with the old factor and one step of refinement with the new matrix cost n^2 instead of n^3,
/// and leave an error of (shift ratio - 1)^2 in the worst direction. Small matrices are always factored anew.
/// Cholesky notices when a real matrix is not positive definite.
template <class Scalar, Factorisation kind>
class ShiftedFactor {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  using Decomposition = std::conditional_t<kind == Factorisation::cholesky, SymmetricCholesky<Scalar>,
                                           Eigen::PartialPivLU<Eigen::Ref<MatrixS>>>;

 public:
  explicit ShiftedFactor(Index n);

  /// Prepares for S + shift I. `version` tells one S from another; S must live until the last solve. Counts
  /// in `nfactor` what it factors. False: singular, or not positive definite.
  bool prepare(const Matrix& S, Scalar shift, long version, std::int64_t& nfactor);

  /// Factors S + shift I; nothing is kept for another shift.
  bool factor(const MatrixS& S, Scalar shift, std::int64_t& nfactor);

  /// Read after `prepare` with the shift asked for: S is factored where it had been.
  void state(Archive& archive);

  /// Whether the shift asked for is the one that is factored.
  bool exact() const { return shift_ == factored_shift_; }

  /// v <- (S + shift I)^-1 v
  void solve(Eigen::Ref<VectorS> v);

 private:
  bool factor_matrix(Scalar shift, std::int64_t& nfactor);
  void solve_factored(Eigen::Ref<VectorS> v);

  MatrixS matrix_;
  Decomposition decomposition_;  // of matrix_, in its memory
  VectorS b_, x_;
  Vector part_, product_;
  const Matrix* S_ = nullptr;
  Scalar shift_{}, factored_shift_{};
  long version_ = -1;  // of the matrix that is factored
};

extern template class ShiftedFactor<double, Factorisation::cholesky>;
extern template class ShiftedFactor<Complex, Factorisation::cholesky>;
extern template class ShiftedFactor<double, Factorisation::lu>;
extern template class ShiftedFactor<Complex, Factorisation::lu>;

}  // namespace grokflow
