// Golub & Kahan (SIAM J. Numer. Anal. 2, 1965): A is made bidiagonal, with d on the diagonal and f above, by
// reflections from both sides. The eigenvalues of [0 B; B^T 0] are plus and minus the singular values, and
// rows and columns reordered make that matrix tridiagonal, with d1 f1 d2 f2 ... beside a zero diagonal.
#include "numerics/singular_values.hpp"

#include <Eigen/Householder>
#include <cmath>

#include "numerics/symmetric_eigen.hpp"

namespace grokflow {
namespace {

/// d1 f1 d2 f2 ..., of an A with no more columns than rows, which is overwritten.
Vector bidiagonalize(Matrix& A) {
  const Index n = A.cols();
  Vector found(2 * n - 1), row(n), workspace(A.rows());
  double weight;
  for (Index k = 0; k < n; ++k) {
    const Index below = A.rows() - k - 1, right = n - k - 1;
    A.col(k).tail(below + 1).makeHouseholderInPlace(weight, found[2 * k]);
    A.bottomRightCorner(below + 1, right)
        .applyHouseholderOnTheLeft(A.col(k).tail(below), weight, workspace.data());
    if (right == 0) break;
    row.head(right) = A.row(k).tail(right);
    row.head(right).makeHouseholderInPlace(weight, found[2 * k + 1]);
    A.bottomRightCorner(below, right)
        .applyHouseholderOnTheRight(row.segment(1, right - 1), weight, workspace.data());
  }
  return found;
}

}  // namespace

Vector singular_values(const ConstMatrixRef& A) {
  const Index n = std::min(A.rows(), A.cols());
  const double size = A.stableNorm();
  if (size == 0.0 || !std::isfinite(size)) return Vector::Constant(n, size);
  Matrix scaled = A.rows() < A.cols() ? Matrix(A.transpose() / size) : Matrix(A / size);
  const Vector beside = bidiagonalize(scaled);
  const Vector values = tridiagonal_eigenvalues(Vector::Zero(2 * n), beside);
  return size * values.tail(n).cwiseMax(0.0).reverse();
}

}  // namespace grokflow
