#include "numerics/recycled_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "numerics/products.hpp"
#include "numerics/symmetric_cholesky.hpp"

namespace grokflow {
namespace {

constexpr Index kFewest = 8;           // directions that are worth a merge,
constexpr double kShare = 0.1;         // and the most of them, as a share of the rank
constexpr double kHardly = 0.1;        // share of the energy of a direction below which B hardly knows it
constexpr double kDependent = 1e-4;    // squared sine below which a direction is spanned by the others
constexpr double kNegligible = 1e-11;  // eigenvalue, over the largest, that is round-off
constexpr Index kRows = 256;           // rows rotated at a time

Index window(Index rank) {
  return std::min(rank, std::max(kFewest, static_cast<Index>(kShare * static_cast<double>(rank))));
}

}  // namespace

RecycledSpectrum::RecycledSpectrum(Index size, Index rank)
    : max_rank_(std::min(rank, size)),
      growing_(max_rank_ >= kFewest),
      factor_(size, max_rank_),
      values_(max_rank_),
      directions_(size, window(max_rank_)),
      images_(size, window(max_rank_)),
      coefficients_(2, max_rank_),
      merged_(max_rank_ + directions_.cols(), max_rank_ + directions_.cols()),
      rest_(max_rank_, max_rank_),
      square_(max_rank_, max_rank_),
      known_(max_rank_, directions_.cols()),
      tall_(max_rank_, directions_.cols()),
      basis_(directions_.cols(), directions_.cols()),
      small_(directions_.cols(), directions_.cols()),
      rows_(kRows, max_rank_) {}

Index RecycledSpectrum::rank_within(double bytes, Index size) {
  return static_cast<Index>(bytes /
                            (8.0 * (1.0 + 2.0 * kShare) * static_cast<double>(std::max<Index>(size, 1))));
}

/// Measured: an iteration takes 30 size rank + 120 rank^2 operations at the rate of a product of matrices where F
/// stays in the caches, and 100 size rank beyond.
Index RecycledSpectrum::rank_worth(double operations, Index size) {
  constexpr double kCached = 30.0, kPass = 100.0, kMerge = 120.0, kCache = 2e6;
  const double rows = static_cast<double>(size);
  const auto within_half = [&](double pass) {
    const double half = 0.5 * pass / kMerge * rows;
    return std::sqrt(half * half + 0.5 * operations / kMerge) - half;
  };
  const double rank = std::max(std::min(within_half(kCached), kCache / rows), within_half(kPass));
  if (!(rank < static_cast<double>(size))) return size;
  return rank < kFewest ? 0 : Index{1} << std::ilogb(rank);
}

template <class Scalar>
void RecycledSpectrum::precondition(Scalar shift, const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& residual,
                                    Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& step) {
  step = residual;
  if (rank_ == 0) return;
  const auto F = factor_.leftCols(rank_);
  const auto weigh = [&](Scalar* coefficients) {
    for (Index i = 0; i < rank_; ++i)
      coefficients[i] *= ((shift + values_[0]) / (shift + values_[i]) - 1.0) / values_[i];
  };
  if constexpr (std::is_same_v<Scalar, double>) {
    Eigen::Map<Vector> coefficients(coefficients_.data(), rank_);
    apply_transposed(F, residual, coefficients);
    weigh(coefficients.data());
    add_applied(F, coefficients, step);
  } else {  // a complex vector is a real matrix of two rows
    using Rows = Eigen::Map<Matrix>;
    const Eigen::Map<const Matrix> in(reinterpret_cast<const double*>(residual.data()), 2, residual.size());
    Rows coefficients(coefficients_.data(), 2, rank_);
    multiply(in, F, coefficients);
    weigh(reinterpret_cast<Scalar*>(coefficients_.data()));
    add_product_nt(coefficients, F, Rows(reinterpret_cast<double*>(step.data()), 2, step.size()));
  }
}

template void RecycledSpectrum::precondition<double>(double, const Vector&, Vector&);
template void RecycledSpectrum::precondition<Complex>(Complex, const Eigen::VectorXcd&, Eigen::VectorXcd&);

void RecycledSpectrum::note(const Vector& step, const Vector& image) {
  const double norm = step.norm();
  if (num_new_ == directions_.cols() || !(norm > 0.0) || !std::isfinite(norm)) return;
  directions_.col(num_new_) = step / norm;
  images_.col(num_new_) = image / norm;
  ++num_new_;
}

void RecycledSpectrum::state(Archive& archive) {
  archive(rank_, num_new_, growing_);
  if (rank_ > max_rank_ || num_new_ > directions_.cols())
    throw ArchiveError("more directions than there is room for");
  archive.entries(values_.data(), rank_);
  archive.entries(factor_.data(), factor_.rows() * rank_);
  archive.entries(directions_.data(), directions_.rows() * num_new_);
  archive.entries(images_.data(), images_.rows() * num_new_);
}

void RecycledSpectrum::absorb() {
  if (num_new_ >= kFewest) merge();
}

/// The new F is [F W, Y R], rotated to orthogonal columns, with R^T P^T Y R = I and
///
///   W = I - A (A^T A + kHardly I)^-1 A^T,     A = F^T P R.
void RecycledSpectrum::merge() {
  const Index k = rank_, m = num_new_;
  rank_ = num_new_ = 0;
  growing_ = false;
  const auto F = factor_.leftCols(k), P = directions_.leftCols(m), Y = images_.leftCols(m);
  auto R = basis_.topLeftCorner(m, m), small = small_.topLeftCorner(m, m);
  auto A = known_.topLeftCorner(k, m), tall = tall_.topLeftCorner(k, m);
  auto W = rest_.topLeftCorner(k, k);

  multiply_tn(P, Y, small);
  if (!small.allFinite()) return;
  orthonormalize(small, R);
  multiply_tn(F, P, tall);
  multiply(tall, R, A);
  small.setIdentity();
  small *= kHardly;
  add_product_tn(A, A, small);
  const SymmetricCholesky<double> factored(small);
  if (k > 0) divide_by_transpose(small, A);
  W.setIdentity();
  add_product_nt(A, A, W, -1.0);

  merged_.setZero();  // and so it stays beyond k + m
  multiply_tn(F, Y, tall);
  multiply(tall, R, A);
  multiply_tn(A, W, merged_.block(k, 0, m, k));
  multiply_tn(Y, Y, small);
  auto scratch = square_.topLeftCorner(m, m);
  multiply(small, R, scratch);
  multiply_tn(R, scratch, merged_.block(k, k, m, m));
  auto weighted = square_.topLeftCorner(k, k);
  weighted = values_.head(k).asDiagonal() * W;
  multiply(W, weighted, merged_.topLeftCorner(k, k));
  if (!merged_.allFinite()) return;
  eigen_.compute(merged_);  // of the lower triangle

  const Vector& found = eigen_.values();
  const Index size = merged_.rows(), most = std::min(max_rank_, k + m);
  Index kept = 0;
  while (kept < most && found[size - 1 - kept] > kNegligible * found[size - 1]) ++kept;
  const auto vectors = eigen_.vectors().rightCols(kept);
  auto from_old = merged_.topLeftCorner(k, kept), from_new = merged_.block(k, 0, m, kept);
  multiply(W, vectors.topRows(k), from_old);
  multiply(R, vectors.middleRows(k, m), from_new);
  for (Index begin = 0; begin < factor_.rows(); begin += kRows) {
    const Index count = std::min(kRows, factor_.rows() - begin);
    auto rows = rows_.topLeftCorner(count, kept);
    multiply(F.middleRows(begin, count), from_old, rows);
    add_product(Y.middleRows(begin, count), from_new, rows);
    factor_.block(begin, 0, count, kept) = rows;
  }
  values_.head(kept) = found.tail(kept);
  growing_ = kept < max_rank_ && kept - k >= m / 2;
  rank_ = kept;
}

/// R with R^T S R = I, but for columns that are zero: those of directions that the ones before them span, or
/// along which S is not positive. S, of which the lower triangle counts, is overwritten.
void RecycledSpectrum::orthonormalize(MatrixRef S, MatrixRef R) {
  const double least = kNegligible * S.diagonal().maxCoeff();
  R.setZero();
  for (Index j = 0; j < S.rows(); ++j)
    if (S(j, j) > least) R(j, j) = 1.0 / std::sqrt(S(j, j));
  S = R.diagonal().asDiagonal() * S * R.diagonal().asDiagonal();
  Vector row(S.rows());
  for (Index j = 0; j < S.rows(); ++j) {
    const Index rest = S.rows() - j;
    auto column = S.col(j).tail(rest);
    row.head(j) = S.row(j).head(j);
    add_applied(S.block(j, 0, rest, j), row.head(j), column, -1.0);
    if (column[0] > kDependent) {
      column /= std::sqrt(column[0]);
    } else {
      S.row(j).head(j).setZero();
      column.setZero();
      column[0] = 1.0;
      R(j, j) = 0.0;
    }
  }
  divide_by_transpose(S, R);
}

}  // namespace grokflow
