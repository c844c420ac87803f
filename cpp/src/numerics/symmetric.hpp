// Symmetric products at half the work, and symmetric to the last bit.
#pragma once

#include "numerics/parallel.hpp"

namespace grokflow {

/// out (rows x cols of the tile) = that part of A A^T; on the diagonal only its lower triangle, with zeros
/// above.
void gram_tile(const ConstMatrixRef& A, const Tile& tile, MatrixRef out);

/// K = A A^T, both triangles.
void row_gram(const ConstMatrixRef& A, MatrixRef K);

/// K = factor A^T A, both triangles.
void column_gram(const ConstMatrixRef& A, MatrixRef K, double factor = 1.0);

/// K += factor A A^T, the lower triangle, on one thread.
void add_gram(const ConstMatrixRef& A, MatrixRef K, double factor = 1.0);

/// Copies the lower triangle of K to the upper one.
void mirror_lower(MatrixRef K);

}  // namespace grokflow
