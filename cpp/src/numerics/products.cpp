#include "numerics/products.hpp"

namespace grokflow {
namespace {

/// out = 0; in one stretch where it is one, for columns are short.
void clear(MatrixRef out) {
  if (out.outerStride() == out.rows())
    Eigen::Map<Vector>(out.data(), out.size()).setZero();
  else
    out.setZero();
}

}  // namespace

void multiply(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  clear(out);
  add_product(A, B, out, factor);
}

void multiply_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  clear(out);
  add_product_tn(A, B, out, factor);
}

void multiply_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  clear(out);
  add_product_nt(A, B, out, factor);
}

void multiply_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor) {
  clear(out);
  add_product_tt(A, B, out, factor);
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
