// Matrix sensing: U V^T is to match inner products with given matrices, w = [U (N x width), V (M x width)],
// both row-major. With <.,.> the sum of elementwise products,
//
//   r_i = <A_i, U V^T> - y_i
//   J (dU, dV) = <A_i, dU V^T + U dV^T>,           J^T q = [G V, G^T U],   G = sum_i q_i A_i,
//   K_ij = <A_i V, A_j V> + <A_i^T U, A_j^T U> = <A_i V V^T + U U^T A_i, A_j>,
//   Hess F (dU, dV) = J^T (c J (dU, dV)) + [G dV, G^T dU],                 G = c sum_i r_i A_i.
//
// Cost, in operations: 4 n N M for a gradient; for K the cheaper of 4 n N M width + n^2 width (N + M) by the
// first formula, and 2 n N M (N + M) + n^2 N M by the second, which does not depend on the width.
#pragma once

#include <optional>

#include "grokflow/problem.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

/// Measurements y_i of a matrix by A_i, and the factor c of the loss over them.
struct Measurements {
  Matrix A;  ///< one column per measurement: A_i row by row, hence M x N read column by column
  Vector y;
  double scale;
};

class MatrixSensing final : public Problem {
 public:
  MatrixSensing(Measurements train, std::optional<Measurements> test, Index num_rows, Index num_cols,
                Index width);

  bool has_hvp() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override;
  /// Adds test_loss, if there are test measurements, and singular_values (min(N, M, width) of them, of
  /// U V^T).
  std::vector<Quantity> quantities() const override;

  /// U V^T.
  Matrix predict(const ConstVectorRef& w) const;

 private:
  class At;
  using Factor = Eigen::Map<const Matrix>;  ///< width x N or width x M: one column per row of U or V
  using FactorOut = Eigen::Map<Matrix>;

  struct Scratch {
    Matrix product, sum;  ///< (U V^T)^T and G^T, M x N
    Matrix left, right;   ///< of K, n columns each: A_i V and A_i^T U, or A_i V V^T + U U^T A_i
    Matrix UU, VV;        ///< U U^T and V V^T
    Vector r;             ///< n
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  Factor U(const ConstVectorRef& w) const { return {w.data(), width_, num_rows_}; }
  Factor V(const ConstVectorRef& w) const { return {w.data() + width_ * num_rows_, width_, num_cols_}; }
  FactorOut U(VectorRef& w) const { return {w.data(), width_, num_rows_}; }
  FactorOut V(VectorRef& w) const { return {w.data() + width_ * num_rows_, width_, num_cols_}; }
  /// A_i^T (M x N), read in place.
  Eigen::Map<const Matrix> transposed(Index i) const {
    return {train_.A.col(i).data(), num_cols_, num_rows_};
  }
  /// out_i = <A_i, product>, from the transposed product.
  static void measure(const Matrix& A, const Matrix& product, VectorRef out);
  /// sum = G^T = sum_i q_i A_i^T.
  void combine(const ConstVectorRef& q, Matrix& sum) const;
  /// out += [G V, G^T U].
  void add_images(const Matrix& sum, const ConstVectorRef& w, VectorRef out) const;
  Measurements train_;
  std::optional<Measurements> test_;
  Index num_rows_, num_cols_, width_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
