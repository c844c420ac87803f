#include "numerics/symmetric.hpp"

namespace grokflow {

void gram_tile(const ConstMatrixRef& A, const Tile& tile, MatrixRef out) {
  const auto rows = A.middleRows(tile.row, tile.rows);
  if (tile.row != tile.col) {
    out.noalias() = rows * A.middleRows(tile.col, tile.cols).transpose();
    return;
  }
  out.setZero();
  out.selfadjointView<Eigen::Lower>().rankUpdate(rows);
}

void row_gram(const ConstMatrixRef& A, MatrixRef K) {
  for_lower_tiles(A.rows(), A.cols(), parallel::kTriangle, [&](const Tile& t) { gram_tile(A, t, t.of(K)); });
  mirror_lower(K);
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
