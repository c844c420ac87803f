#include "numerics/symmetric.hpp"

#include "numerics/products.hpp"

namespace grokflow {

void gram_tile(const ConstMatrixRef& A, const Tile& tile, MatrixRef out) {
  const auto rows = A.middleRows(tile.row, tile.rows);
  if (tile.row != tile.col) {
    multiply_nt(rows, A.middleRows(tile.col, tile.cols), out);
    return;
  }
  out.setZero();
  add_gram(rows, out);
}

void row_gram(const ConstMatrixRef& A, MatrixRef K) {
  for_lower_tiles(A.rows(), A.cols(), parallel::kTriangle, [&](const Tile& t) { gram_tile(A, t, t.of(K)); });
  mirror_lower(K);
}

void column_gram(const ConstMatrixRef& A, MatrixRef K, double factor) {
  for_lower_tiles(A.cols(), A.rows(), parallel::kTriangle, [&](const Tile& t) {
    auto out = t.of(K);
    const auto cols = A.middleCols(t.row, t.rows);
    if (t.row != t.col) {
      multiply_tn(cols, A.middleCols(t.col, t.cols), out, factor);
      return;
    }
    out.setZero();
    out.selfadjointView<Eigen::Lower>().rankUpdate(cols.transpose(), factor);
  });
  mirror_lower(K);
}

void add_gram(const ConstMatrixRef& A, MatrixRef K, double factor) {
  K.selfadjointView<Eigen::Lower>().rankUpdate(A, factor);
}

void mirror_lower(MatrixRef K) {
  for_lower_tiles(K.rows(), 1, parallel::kTriangle, [&](const Tile& t) {
    if (t.row == t.col)
      t.of(K).triangularView<Eigen::StrictlyUpper>() = t.of(K).transpose();
    else
      K.block(t.col, t.row, t.cols, t.rows) = t.of(K).transpose();
  });
}

}  // namespace grokflow
