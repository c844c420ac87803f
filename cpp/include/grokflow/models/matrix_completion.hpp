// Matrix completion: U V^T is to match a matrix at its observed entries, w = [U (N x width), V (M x width)],
// both row-major. With e = (i, j) an observed entry and U_i, V_j rows:
//
//   r_e = <U_i, V_j> - value_e
//   K_{ef} = [i = k] <V_j, V_l> + [j = l] <U_i, U_k>,   f = (k, l)
//   Hess F (dU, dV): row i gets sum_e h_e V_j + g_e dV_j, row j gets sum_e h_e U_i + g_e dU_i,
//                    h = c J (dU, dV),  g = c r
//
// K vanishes where two entries share neither row nor column, and is built from the inner products of rows. Where many
// entries are known, products with J and J^T are those of whole matrices.
#pragma once

#include <optional>

#include "grokflow/problem.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

/// Observed entries of a matrix and the factor c of the loss over them. No entry occurs twice.
struct Entries {
  std::vector<Index> rows, cols;
  Vector values;
  double scale;
};

class MatrixCompletion final : public Problem {
 public:
  MatrixCompletion(Entries train, std::optional<Entries> test, Index num_rows, Index num_cols, Index width);

  bool has_hvp() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override;
  /// Adds test_loss, if there are test entries, and singular_values (min(N, M, width) of them, of U V^T).
  std::vector<Quantity> quantities() const override;

  /// U V^T.
  Matrix predict(const ConstVectorRef& w) const;

 private:
  class At;
  using Factor = Eigen::Map<const Matrix>;  ///< width x N or width x M: one column per row of U or V
  using FactorOut = Eigen::Map<Matrix>;

  struct Scratch {
    Vector r;        ///< n
    Matrix product;  ///< N x M, where entries come by products of whole matrices
    Matrix table;    ///< inner products of rows, sized by the first K
  };

  /// The entries in one row (or column) of the matrix, and where each stands in the other direction.
  struct Line {
    std::vector<Index> entries, others;
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  Factor U(const ConstVectorRef& w) const { return {w.data(), width_, num_rows_}; }
  Factor V(const ConstVectorRef& w) const { return {w.data() + width_ * num_rows_, width_, num_cols_}; }
  /// out = the entries of U V^T, minus the values.
  void misfit(const Entries& entries, const ConstVectorRef& w, VectorRef out) const;
  /// out = the known entries of a product.
  void pick(const Matrix& product, VectorRef out) const;
  /// out += J^T q at w.
  void add_pulled(const ConstVectorRef& q, const ConstVectorRef& w, VectorRef out) const;

  Entries train_;
  std::optional<Entries> test_;
  Index num_rows_, num_cols_, width_;
  bool whole_;  // entries come by products of whole matrices
  std::vector<Line> row_lines_, col_lines_;
  mutable WorkspacePool<Scratch> pool_;
};

/// The min(N, M, width) largest singular values of U V^T, falling, from U^T (width x N) and V^T (width x M).
void singular_values(const ConstMatrixRef& Ut, const ConstMatrixRef& Vt, VectorRef out);

}  // namespace grokflow
