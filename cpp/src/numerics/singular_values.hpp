#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// The min(rows, cols) singular values of A, falling, each to a few epsilon of the largest, also those that
/// vanish, which the square roots of eigenvalues of A^T A would lose.
Vector singular_values(const ConstMatrixRef& A);

}  // namespace grokflow
