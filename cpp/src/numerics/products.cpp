#include "numerics/products.hpp"

namespace grokflow {
namespace {

/// Few entries are written as they are computed; others are cleared first, in one stretch where they lie in
/// one, for columns are short.
template <class Left, class Right>
void assign(const Left& A, const Right& B, MatrixRef out, double factor) {
  if (out.rows() + out.cols() + A.cols() < EIGEN_GEMM_TO_COEFFBASED_THRESHOLD) {
    out = factor * A.lazyProduct(B);
    return;
  }
  if (out.outerStride() == out.rows())
    Eigen::Map<Vector>(out.data(), out.size()).setZero();
  else
    out.setZero();
  out.noalias() += factor * (A * B);
}

/// Whether A and out are rows that lie in one stretch: Eigen would take memory to make them so.
bool are_rows(const MatrixView& A, const MatrixRef& out) {
  return A.rows() == 1 && A.outerStride() == 1 && out.outerStride() == 1;
}

Eigen::Map<const Vector> row(const MatrixView& A) { return {A.data(), A.cols()}; }
Eigen::Map<Vector> row(MatrixRef& out) { return {out.data(), out.cols()}; }

}  // namespace

void multiply(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  if (are_rows(A, out)) return apply_transposed(B, row(A), row(out), factor);
  assign(A, B, out, factor);
}

void multiply_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A.transpose(), B, out, factor);
}

void multiply_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  if (are_rows(A, out)) return apply(B, row(A), row(out), factor);
  assign(A, B.transpose(), out, factor);
}

void multiply_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A.transpose(), B.transpose(), out, factor);
}

void add_product(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  if (are_rows(A, out)) return add_applied_transposed(B, row(A), row(out), factor);
  out.noalias() += factor * (A * B);
}

void add_product_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  out.noalias() += factor * (A.transpose() * B);
}

void add_product_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  if (are_rows(A, out)) return add_applied(B, row(A), row(out), factor);
  out.noalias() += factor * (A * B.transpose());
}

void add_product_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  out.noalias() += factor * (A.transpose() * B.transpose());
}

void apply(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor) {
  out.noalias() = factor * (A * x);
}

void apply_transposed(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor) {
  out.noalias() = factor * (A.transpose() * x);
}

void add_applied(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor) {
  out.noalias() += factor * (A * x);
}

void add_applied_transposed(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor) {
  out.noalias() += factor * (A.transpose() * x);
}

}  // namespace grokflow
