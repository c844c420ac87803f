#include "recycled_spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace grokflow {
namespace {

constexpr Index kFewest = 8;           // directions that are worth a merge,
constexpr double kShare = 0.25;        // and as a share of the Ritz vectors
constexpr double kDependent = 1e-4;    // squared sine below which a direction is spanned by the others
constexpr double kNegligible = 1e-13;  // Ritz value, over the largest, that is round-off
constexpr double kDropped = -1.0;      // on the diagonal of a Cholesky factor, where there is no pivot
constexpr Index kRows = 256;           // rows rotated at a time

Index window(Index rank) {
  return std::min(rank, std::max(kFewest, static_cast<Index>(kShare * static_cast<double>(rank))));
}

}  // namespace

RecycledSpectrum::RecycledSpectrum(Index size, Index rank)
    : max_rank_(std::min(rank, size)),
      basis_(size, max_rank_ + window(max_rank_)),
      images_(size, max_rank_ + window(max_rank_)),
      values_(max_rank_),
      coefficients_(2, max_rank_) {}

Index RecycledSpectrum::rank_within(double bytes, Index size) {
  return static_cast<Index>(bytes / (2.0 * 8.0 * (1.0 + kShare) * static_cast<double>(size)));
}

template <class Scalar>
void RecycledSpectrum::precondition(Scalar shift, const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& residual,
                                    Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& step) {
  step = residual;
  if (rank_ == 0) return;
  // A complex vector is a real matrix of two rows.
  constexpr int parts = std::is_same_v<Scalar, double> ? 1 : 2;
  using Rows = Eigen::Matrix<double, parts, Eigen::Dynamic>;
  const Eigen::Map<const Rows> in(reinterpret_cast<const double*>(residual.data()), parts, residual.size());
  Eigen::Map<Rows> out(reinterpret_cast<double*>(step.data()), parts, step.size());
  Eigen::Map<Rows> coefficients(coefficients_.data(), parts, rank_);
  const auto vectors = basis_.leftCols(rank_);
  coefficients.noalias() = in * vectors;
  auto* weights = reinterpret_cast<Scalar*>(coefficients_.data());
  const double rest = values_[0];
  for (Index i = 0; i < rank_; ++i) weights[i] *= (shift + rest) / (shift + values_[i]) - 1.0;
  out.noalias() += coefficients * vectors.transpose();
}

template void RecycledSpectrum::precondition<double>(double, const Vector&, Vector&);
template void RecycledSpectrum::precondition<Complex>(Complex, const Eigen::VectorXcd&, Eigen::VectorXcd&);

void RecycledSpectrum::note(const Vector& step, const Vector& image) {
  const Index column = rank_ + num_new_;
  const double norm = step.norm();
  if (column >= basis_.cols() || !(norm > 0.0) || !std::isfinite(norm)) return;
  basis_.col(column) = step / norm;
  images_.col(column) = image / norm;
  ++num_new_;
}

void RecycledSpectrum::absorb() {
  const Index old = rank_, total = old + num_new_;
  const bool full = total == basis_.cols();
  const Index enough = std::max(kFewest, static_cast<Index>(kShare * static_cast<double>(old)));
  if (num_new_ == 0 || (!full && num_new_ < enough)) return;

  if (merge_size_ < total) {
    merge_size_ = std::min(basis_.cols(), 2 * total);
    for (Matrix* m : {&gram_, &projected_, &rotation_}) m->resize(merge_size_, merge_size_);
    block_.resize(kRows, max_rank_);
  }
  // What was noted is exact, and what was known may be of an earlier operator: where both meet the new
  // counts.
  const auto known = basis_.leftCols(old), noted = basis_.middleCols(old, num_new_);
  const auto known_images = images_.leftCols(old), noted_images = images_.middleCols(old, num_new_);
  gram_.setZero();
  projected_.setZero();
  gram_.topLeftCorner(num_new_, num_new_).noalias() = noted.transpose() * noted;
  gram_.block(num_new_, 0, old, num_new_).noalias() = known.transpose() * noted;
  gram_.block(num_new_, num_new_, old, old).noalias() = known.transpose() * known;
  projected_.topLeftCorner(num_new_, num_new_).noalias() = noted.transpose() * noted_images;
  projected_.block(num_new_, 0, old, num_new_).noalias() = known.transpose() * noted_images;
  projected_.block(num_new_, num_new_, old, old).noalias() = known.transpose() * known_images;
  for (Index j = 0; j < total; ++j)
    for (Index i = j + 1; i < total; ++i) projected_(j, i) = projected_(i, j);

  orthonormalize(total);
  // rotation_ = R with R^T (Z^T Z) R = I; the projected operator is R^T (Z^T G Z) R.
  gram_.noalias() = projected_ * rotation_;
  projected_.noalias() = rotation_.transpose() * gram_;
  if (!projected_.allFinite()) {
    rank_ = num_new_ = 0;
    return;
  }
  eigen_.compute(projected_);
  const Vector& found = eigen_.eigenvalues();
  Index kept = 0;
  const Index most = std::min(max_rank_, total);
  while (kept < most && found[merge_size_ - 1 - kept] > kNegligible * found[merge_size_ - 1]) ++kept;
  gram_.leftCols(kept).noalias() = rotation_ * eigen_.eigenvectors().rightCols(kept);
  for (Matrix* m : {&basis_, &images_}) {
    for (Index begin = 0; begin < m->rows(); begin += kRows) {
      const Index rows = std::min(kRows, m->rows() - begin);
      auto part = block_.topLeftCorner(rows, kept);
      part.noalias() = m->block(begin, old, rows, num_new_) * gram_.topLeftCorner(num_new_, kept);
      part.noalias() += m->block(begin, 0, rows, old) * gram_.block(num_new_, 0, old, kept);
      m->block(begin, 0, rows, kept) = part;
    }
  }
  values_.head(kept) = found.tail(kept);
  rank_ = kept;
  num_new_ = 0;
}

/// rotation_ = R with R^T B R = I for the Gram matrix B, but for columns that are zero: those of directions
/// that the ones before them span.
void RecycledSpectrum::orthonormalize(Index total) {
  for (Index j = 0; j < total; ++j) {
    auto column = gram_.col(j).segment(j, total - j);
    if (j > 0) column.noalias() -= gram_.block(j, 0, total - j, j) * gram_.row(j).head(j).transpose();
    if (column[0] > kDependent) {
      column /= std::sqrt(column[0]);
    } else {
      gram_.row(j).head(j).setZero();
      column.setZero();
      column[0] = kDropped;
    }
  }
  rotation_.setZero();
  rotation_.diagonal().head(total).setOnes();
  auto inverse = rotation_.topLeftCorner(total, total);
  gram_.topLeftCorner(total, total).triangularView<Eigen::Lower>().solveInPlace(inverse);
  rotation_.transposeInPlace();
  for (Index j = 0; j < total; ++j)
    if (gram_(j, j) == kDropped) rotation_.col(j).setZero();
}

}  // namespace grokflow
