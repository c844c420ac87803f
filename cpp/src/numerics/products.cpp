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

}  // namespace

void multiply(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A, B, out, factor);
}

void multiply_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A.transpose(), B, out, factor);
}

void multiply_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A, B.transpose(), out, factor);
}

void multiply_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  assign(A.transpose(), B.transpose(), out, factor);
}

void add_product(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  out.noalias() += factor * (A * B);
}

void add_product_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  out.noalias() += factor * (A.transpose() * B);
}

void add_product_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
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
