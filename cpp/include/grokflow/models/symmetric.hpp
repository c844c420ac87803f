// Symmetric products at half the work, and symmetric to the last bit.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// Copies the lower triangle of K to the upper one.
inline void mirror_lower(MatrixRef K) { K.triangularView<Eigen::StrictlyUpper>() = K.transpose(); }

/// K = A A^T, both triangles.
inline void row_gram(const ConstMatrixRef& A, MatrixRef K) {
  K.setZero();
  K.selfadjointView<Eigen::Lower>().rankUpdate(A);
  mirror_lower(K);
}

}  // namespace grokflow
