// Products of matrices, compiled once: each file that writes A * B would compile Eigen's kernels for itself.
//
// The letters tell which factor is transposed: multiply_tn is A^T B. `out` must not overlap with a factor.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// A column-major matrix or block, read where it lies. What a Ref would copy does not compile.
class MatrixView : public Eigen::Map<const Matrix, 0, Eigen::OuterStride<>> {
 public:
  template <class M>
  MatrixView(const Eigen::MatrixBase<M>& m)
      : Map(m.derived().data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.derived().outerStride())) {
    static_assert(M::InnerStrideAtCompileTime == 1 && (M::IsVectorAtCompileTime || !M::IsRowMajor));
  }
};

/// out = factor A B
void multiply(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void multiply_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void multiply_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void multiply_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);

/// out += factor A B
void add_product(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void add_product_tn(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void add_product_nt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);
void add_product_tt(const MatrixView& A, const MatrixView& B, MatrixRef out, double factor = 1.0);

/// out = factor A x
void apply(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor = 1.0);
void apply_transposed(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor = 1.0);

/// What `apply` takes on a matrix of so many entries, in operations of a product of matrices: it does two with
/// each, but waits until it is read, from the caches or from beyond.
inline double apply_cost(double entries) {
  constexpr double kCached = 2e6;
  return (entries <= kCached ? 8.0 : 20.0) * entries;
}

/// out += factor A x
void add_applied(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor = 1.0);
void add_applied_transposed(const MatrixView& A, const ConstVectorRef& x, VectorRef out, double factor = 1.0);

}  // namespace grokflow
