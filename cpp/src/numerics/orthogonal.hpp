// Householder's orthogonal factorisations, for what they are wanted for.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// A = Q R with A.cols() orthonormal columns in Q, for an A with no more columns than rows.
struct ThinQr {
  explicit ThinQr(const ConstMatrixRef& A);
  Matrix Q, R;
};

/// R alone.
Matrix triangular_factor(const ConstMatrixRef& A);

/// The x for which ||A x - b|| is least.
Vector least_squares(const ConstMatrixRef& A, const ConstVectorRef& b);

/// An orthonormal basis of the range of A, without directions in which A is shorter than `rtol` times its
/// longest column.
Matrix orthonormal_range(const ConstMatrixRef& A, double rtol);

}  // namespace grokflow
