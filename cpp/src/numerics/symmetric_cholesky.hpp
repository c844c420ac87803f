// S = L L^T, real or complex symmetric, without conjugation and without pivoting.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// A <- A L^-T with the lower triangle of L.
void divide_by_transpose(const ConstMatrixRef& L, MatrixRef A);

/// Eigen's in-place LLT with two additions: large matrices are factored by several threads, and S may be
/// complex symmetric, at half the price of an LU.
///
/// A real S must be positive definite. The complex case is stable if some multiple of S or of its conjugate
/// has a positive definite real and imaginary part, as a kernel plus a complex shift has: the growth factor
/// of elimination is then at most 2 (Higham 1998; Drury 2013).
template <class Scalar>
class SymmetricCholesky {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  /// Factors the lower triangle of S in the memory of S, which must outlive this object.
  explicit SymmetricCholesky(Eigen::Ref<MatrixS> S);

  /// Factors another matrix of that size in the same memory, where it may lie already.
  void compute(const Eigen::Ref<const MatrixS>& S);

  /// Whether S could be factored.
  bool regular() const { return regular_; }

  /// v <- S^-1 v
  void solve(Eigen::Ref<VectorS> v) const;

 private:
  void eliminate(Index begin, Index size);

  Eigen::Ref<MatrixS> L_;
  bool regular_ = true;
};

extern template class SymmetricCholesky<double>;
extern template class SymmetricCholesky<Complex>;

}  // namespace grokflow
