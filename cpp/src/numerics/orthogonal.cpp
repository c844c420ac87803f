#include "numerics/orthogonal.hpp"

#include <Eigen/QR>
#include <algorithm>

namespace grokflow {
namespace {

Matrix upper(const Eigen::HouseholderQR<Matrix>& qr) {
  return qr.matrixQR().topRows(qr.cols()).triangularView<Eigen::Upper>();
}

/// The first columns of Q, reflection by reflection: Eigen's product by blocks is slow to compile, and no
/// faster for a few columns.
template <class Qr>
Matrix columns(const Qr& qr, Index count) {
  Matrix Q = Matrix::Identity(qr.rows(), count);
  Vector workspace(count);
  for (Index k = std::min(qr.rows(), qr.cols()); k-- > 0;) {
    const Index rest = qr.rows() - k;
    Q.bottomRows(rest).applyHouseholderOnTheLeft(qr.matrixQR().col(k).tail(rest - 1), qr.hCoeffs()[k],
                                                 workspace.data());
  }
  return Q;
}

}  // namespace

ThinQr::ThinQr(const ConstMatrixRef& A) {
  const Eigen::HouseholderQR<Matrix> qr(A);
  Q = columns(qr, A.cols());
  R = upper(qr);
}

Matrix triangular_factor(const ConstMatrixRef& A) { return upper(Eigen::HouseholderQR<Matrix>(A)); }

Vector least_squares(const ConstMatrixRef& A, const ConstVectorRef& b) {
  return Eigen::ColPivHouseholderQR<Matrix>(A).solve(b);
}

Matrix orthonormal_range(const ConstMatrixRef& A, double rtol) {
  Eigen::ColPivHouseholderQR<Matrix> qr(A);
  qr.setThreshold(rtol);
  return columns(qr, qr.rank());
}

}  // namespace grokflow
