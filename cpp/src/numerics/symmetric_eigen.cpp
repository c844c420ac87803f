#include "numerics/symmetric_eigen.hpp"

#include <Eigen/Eigenvalues>

namespace grokflow {

struct SymmetricEigen::Solver : Eigen::SelfAdjointEigenSolver<Matrix> {};

SymmetricEigen::SymmetricEigen() : solver_(std::make_unique<Solver>()) {}
SymmetricEigen::~SymmetricEigen() = default;

void SymmetricEigen::compute(const ConstMatrixRef& S) { solver_->compute(S); }

const Vector& SymmetricEigen::values() const { return solver_->eigenvalues(); }
const Matrix& SymmetricEigen::vectors() const { return solver_->eigenvectors(); }

Vector symmetric_eigenvalues(const ConstMatrixRef& S) {
  return Eigen::SelfAdjointEigenSolver<Matrix>(S, Eigen::EigenvaluesOnly).eigenvalues();
}

Vector tridiagonal_eigenvalues(const ConstVectorRef& diagonal, const ConstVectorRef& beside) {
  Eigen::SelfAdjointEigenSolver<Matrix> eigen;
  eigen.computeFromTridiagonal(diagonal, beside, Eigen::EigenvaluesOnly);
  return eigen.eigenvalues();
}

}  // namespace grokflow
