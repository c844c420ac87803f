#include "numerics/orthogonal.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <Eigen/Householder>

namespace grokflow {
namespace {

enum class Columns { as_they_are, longest_first };

/// A P = Q R by reflections, one for each column: Eigen's own, by blocks of columns, is slow to compile and no
/// faster for a few.
class Reflections {
 public:
  Reflections(const ConstMatrixRef& A, Columns columns)
      : QR_(A), scale_(std::min(A.rows(), A.cols())), order_(A.cols()), workspace_(A.cols()) {
    std::iota(order_.begin(), order_.end(), Index{0});
    for (Index k = 0; k < scale_.size(); ++k) {
      const Index rest = A.rows() - k, right = A.cols() - k - 1;
      if (columns == Columns::longest_first) bring_forward(k, longest(k));
      auto column = QR_.col(k).tail(rest);
      double length;
      column.makeHouseholderInPlace(scale_[k], length);
      column[0] = length;
      reflect(k, QR_.bottomRightCorner(rest, right));
    }
  }

  Matrix R() const { return QR_.topRows(scale_.size()).triangularView<Eigen::Upper>(); }

  Matrix Q(Index count) {
    Matrix out = Matrix::Identity(QR_.rows(), count);
    for (Index k = scale_.size(); k-- > 0;) reflect(k, out.bottomRows(QR_.rows() - k));
    return out;
  }

  /// How many columns of Q span A, apart from what is shorter than `rtol` times its longest column.
  Index rank(double rtol) const {
    const auto lengths = QR_.diagonal().array().abs();
    return scale_.size() == 0 ? 0 : (lengths > rtol * lengths[0]).count();
  }

  /// The x for which ||A x - b|| is least, where the columns beyond the first `rank` are left out.
  Vector solve(Matrix b, Index rank) {
    for (Index k = 0; k < rank; ++k) reflect(k, b.bottomRows(QR_.rows() - k));
    Vector x = Vector::Zero(QR_.cols());
    for (Index k = rank; k-- > 0;) {
      double known = 0.0;
      for (Index j = k + 1; j < rank; ++j) known += QR_(k, j) * x[order_[j]];
      x[order_[k]] = (b(k, 0) - known) / QR_(k, k);
    }
    return x;
  }

 private:
  void reflect(Index k, Eigen::Ref<Matrix> A) {
    A.applyHouseholderOnTheLeft(QR_.col(k).tail(A.rows() - 1), scale_[k], workspace_.data());
  }

  Index longest(Index k) const {
    Index at = k;
    double most = -1.0;
    for (Index j = k; j < QR_.cols(); ++j) {
      const double length = QR_.col(j).tail(QR_.rows() - k).squaredNorm();
      if (length > most) at = j, most = length;
    }
    return at;
  }

  void bring_forward(Index k, Index chosen) {
    if (chosen == k) return;
    QR_.col(k).swap(QR_.col(chosen));
    std::swap(order_[k], order_[chosen]);
  }

  Matrix QR_;                 // R above the diagonal, below it what the reflections are made of
  Vector scale_;              // of each reflection
  std::vector<Index> order_;  // of the columns of A
  Vector workspace_;
};

}  // namespace

ThinQr::ThinQr(const ConstMatrixRef& A) {
  Reflections qr(A, Columns::as_they_are);
  Q = qr.Q(A.cols());
  R = qr.R();
}

Matrix triangular_factor(const ConstMatrixRef& A) { return Reflections(A, Columns::as_they_are).R(); }

Vector least_squares(const ConstMatrixRef& A, const ConstVectorRef& b) {
  Reflections qr(A, Columns::longest_first);
  return qr.solve(b, qr.rank(std::numeric_limits<double>::epsilon()));
}

Matrix orthonormal_range(const ConstMatrixRef& A, double rtol) {
  Reflections qr(A, Columns::longest_first);
  return qr.Q(qr.rank(rtol));
}

}  // namespace grokflow
