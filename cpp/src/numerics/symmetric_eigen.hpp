// Eigenvalues and eigenvectors of real symmetric matrices.
#pragma once

#include <memory>

#include "grokflow/types.hpp"

namespace grokflow {

/// S = V diag(values) V^T, the eigenvalues rising. It keeps its memory from one S to the next of that size.
class SymmetricEigen {
 public:
  SymmetricEigen();
  ~SymmetricEigen();

  /// Of the lower triangle of S.
  void compute(const ConstMatrixRef& S);

  const Vector& values() const;
  const Matrix& vectors() const;

 private:
  struct Solver;
  std::unique_ptr<Solver> solver_;
};

/// The eigenvalues of S alone, rising.
Vector symmetric_eigenvalues(const ConstMatrixRef& S);

/// Those of a tridiagonal matrix.
Vector tridiagonal_eigenvalues(const ConstVectorRef& diagonal, const ConstVectorRef& beside);

}  // namespace grokflow
