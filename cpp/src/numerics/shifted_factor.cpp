#include "numerics/shifted_factor.hpp"

#include <cmath>
#include <utility>

#include "numerics/products.hpp"

namespace grokflow {
namespace {

constexpr double kMaxDrift = 0.12;  // of the shift, relative to the factored one
constexpr Index kCheap = 64;        // smaller matrices are factored anew

}  // namespace

Matrix inverse(const ConstMatrixRef& A) {
  Matrix copy = A, out = Matrix::Identity(A.rows(), A.cols());
  const Eigen::PartialPivLU<MatrixRef> lu(copy);
  Vector column(A.rows());
  for (Index j = 0; j < out.cols(); ++j) {
    column = lu.solve(VectorRef(out.col(j)));
    out.col(j) = column;
  }
  return out;
}

template <class Scalar, Factorisation kind>
ShiftedFactor<Scalar, kind>::ShiftedFactor(Index n)
    : matrix_(MatrixS::Identity(n, n)), decomposition_(matrix_), b_(n), x_(n), part_(n), product_(n) {}

template <class Scalar, Factorisation kind>
bool ShiftedFactor<Scalar, kind>::prepare(const Matrix& S, Scalar shift, long version,
                                          std::int64_t& nfactor) {
  S_ = &S;
  shift_ = shift;
  const double drift = matrix_.rows() < kCheap ? 0.0 : kMaxDrift;
  const bool near = shift == factored_shift_ || std::abs(shift / factored_shift_ - 1.0) <= drift;
  if (version == version_ && near) return true;
  matrix_ = S.template cast<Scalar>();
  if (!factor_matrix(shift, nfactor)) return false;
  version_ = version;
  return true;
}

template <class Scalar, Factorisation kind>
void ShiftedFactor<Scalar, kind>::state(Archive& archive) {
  Scalar factored = factored_shift_;
  archive(factored);
  if (!archive.reading() || S_ == nullptr || factored == factored_shift_) return;
  const Scalar asked = shift_;
  std::int64_t uncounted = 0;
  prepare(*S_, factored, std::exchange(version_, -1), uncounted);
  shift_ = asked;
}

template <class Scalar, Factorisation kind>
bool ShiftedFactor<Scalar, kind>::factor(const MatrixS& S, Scalar shift, std::int64_t& nfactor) {
  matrix_ = S;
  return factor_matrix(shift, nfactor);
}

/// The shift is still to be added.
template <class Scalar, Factorisation kind>
bool ShiftedFactor<Scalar, kind>::factor_matrix(Scalar shift, std::int64_t& nfactor) {
  version_ = -1;
  shift_ = factored_shift_ = shift;
  matrix_.diagonal().array() += shift;
  if ((Scalar(0) * matrix_).sum() != Scalar(0)) return false;  // not finite; allFinite has no vectors
  ++nfactor;
  decomposition_.compute(matrix_);
  if constexpr (kind == Factorisation::cholesky)
    return decomposition_.regular();
  else
    return (decomposition_.matrixLU().diagonal().array() != Scalar(0)).all();
}

template <class Scalar, Factorisation kind>
void ShiftedFactor<Scalar, kind>::solve(Eigen::Ref<VectorS> v) {
  if (exact()) return solve_factored(v);
  b_ = v;
  solve_factored(v);
  b_ -= shift_ * v;
  if constexpr (std::is_same_v<Scalar, double>) {
    add_applied(*S_, v, b_, -1.0);
  } else {  // real times complex, part by part
    part_ = v.real();
    apply(*S_, part_, product_);
    b_.real() -= product_;
    part_ = v.imag();
    apply(*S_, part_, product_);
    b_.imag() -= product_;
  }
  solve_factored(b_);
  v += b_;
}

template <class Scalar, Factorisation kind>
void ShiftedFactor<Scalar, kind>::solve_factored(Eigen::Ref<VectorS> v) {
  if constexpr (kind == Factorisation::cholesky) {
    decomposition_.solve(v);
  } else {
    x_ = decomposition_.solve(v);
    v = x_;
  }
}

template class ShiftedFactor<double, Factorisation::cholesky>;
template class ShiftedFactor<Complex, Factorisation::cholesky>;
template class ShiftedFactor<double, Factorisation::lu>;
template class ShiftedFactor<Complex, Factorisation::lu>;

}  // namespace grokflow
