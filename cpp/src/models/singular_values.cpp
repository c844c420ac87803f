// Apart from the model, since Eigen's decompositions are slow to compile.
#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>

#include "grokflow/models/matrix_completion.hpp"

namespace grokflow {
namespace {

Matrix triangular_factor(const ConstMatrixRef& A) {
  const Eigen::HouseholderQR<Matrix> qr(A);
  return qr.matrixQR().topRows(A.cols()).triangularView<Eigen::Upper>();
}

}  // namespace

void singular_values(const ConstMatrixRef& Ut, const ConstMatrixRef& Vt, VectorRef out) {
  // With U = Q R and V = Q' R', U V^T has the singular values of R R'^T. Unlike the eigenvalues of a Gram
  // matrix, these keep their absolute accuracy down to round-off, where the vanishing ones are.
  const bool thin = Ut.rows() < std::min(Ut.cols(), Vt.cols());
  Matrix core;
  if (thin)
    core = triangular_factor(Ut.transpose()) * triangular_factor(Vt.transpose()).transpose();
  else
    core = Ut.transpose() * Vt;
  out = Eigen::BDCSVD<Matrix>(core).singularValues();
}

}  // namespace grokflow
