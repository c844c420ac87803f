#include "tangent/gram.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "linearized.hpp"
#include "numerics/power_iteration.hpp"
#include "numerics/products.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kReturn = 100.0;  // times the threshold: an eigenvalue that a path has let go counts again
constexpr double kUndone = 1e-11;  // error of P v, over v, which a drift's way back to M undoes
constexpr double kUnfelt = 1e-3;   // size of forces over that of the vector on which they act
constexpr double kSettled = 1e-5;  // accuracy of an end of the spectrum that is tracked

}  // namespace

GramTangent::GramTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options, Stats& stats)
    : problem_(std::move(problem)),
      stats_(stats),
      rtol_rank_(options.rtol_rank > 0.0 ? options.rtol_rank
                 : options.rtol_path > 0.0
                     ? options.rtol_path
                     : 10.0 * kEpsilon * static_cast<double>(problem_->num_residuals())),
      accuracy_(options.accuracy),
      truncates_(options.rtol_rank > 0.0),
      follows_(options.rtol_path > 0.0),
      K_(Matrix::Identity(problem_->num_residuals(), problem_->num_residuals())),
      L_(K_),
      cholesky_(L_),
      rank_(K_.rows()),
      before_(rank_),
      rows_(K_.rows()),
      coordinates_(K_.rows()),
      params_(problem_->num_params()),
      forces_(K_.rows()),
      held_(Vector::Zero(K_.rows())),
      noise_(unstructured(K_.rows())),
      slow_(noise_),
      fast_(noise_) {}

bool GramTangent::linearize(const ConstVectorRef& w) {
  before_ = rank_;
  if (!linearize_beside(w)) return false;
  if (follows_) rank_ = kept_;
  on_path_ = true;
  return true;
}

bool GramTangent::linearize_beside(const ConstVectorRef& w) {
  on_path_ = false;
  linearized(*problem_, w, lin_).checkpoint = checkpoint;
  ++stats_.nlinearize;
  lin_->gram(0, problem_->num_params(), K_);
  ++stats_.ngram;
  size_ = K_.norm();
  if (!std::isfinite(size_)) return false;
  decomposed_ = truncates_ || !factor();
  if (decomposed_) decompose();
  return true;
}

/// Eigenvectors are not worth it; nor would the bits of a run be its own, if a clock decided.
double GramTangent::renewal_cost() const {
  return decomposed_ || problem_->cost().measured ? std::numeric_limits<double>::infinity()
                                                  : kernel_cost(*problem_);
}

void GramTangent::state(Archive& archive) {
  archive(slow_, fast_, before_, held_);
  if (archive.reading()) rank_ = before_;
}

/// False if K is singular to working accuracy: a pivot is the part of a diagonal entry that the rows before
/// do not span, and round-off that of the entry, however small that is.
bool GramTangent::factor() {
  L_ = K_;
  cholesky_.compute(L_);
  ++stats_.nfactor;
  if (!cholesky_.regular()) return false;
  least_pivot_ = L_.diagonal().minCoeff();
  kept_ = K_.rows();
  const double threshold = rank_ < kept_ ? kReturn * rtol_rank_ : rtol_rank_;
  return (L_.diagonal().array().square() > threshold * K_.diagonal().array()).all();
}

/// The number of eigenvalues of K that count: as many as last, unless these have sunk, or others have risen far.
/// The residual is not held along an eigenvector that is let go, and only where its eigenvalue is large again
/// is a point of M close by.
Index GramTangent::count_rank(const Vector& values) const {
  const double threshold = rtol_rank_ * std::max(values[values.size() - 1], 0.0);
  const auto above = [&](double size) { return (values.array() > size).count(); };
  return std::clamp(rank_, above(kReturn * threshold), above(threshold));
}

void GramTangent::decompose() {
  eigen_.compute(K_);
  ++stats_.nfactor;
  kept_ = count_rank(eigen_.values());
}

/// rows <- K^+ rows
void GramTangent::solve(VectorRef rows) {
  ++stats_.nsolve;
  if (!decomposed_) return cholesky_.solve(rows);
  const auto vectors = eigen_.vectors().rightCols(kept_);
  auto coordinates = coordinates_.head(kept_);
  apply_transposed(vectors, rows, coordinates);
  coordinates.array() /= eigen_.values().tail(kept_).array();
  apply(vectors, coordinates, rows);
}

void GramTangent::project(VectorRef v) {
  ++stats_.nproject;
  const double least = accuracy_ > 0.0 ? kUndone * v.norm() : 0.0;
  forces_.setZero();
  if (follows_ && decomposed_ && kept_ < K_.rows()) hold(v);
  const double error = pass(v);
  if (error > std::max(least, accuracy_ * v.norm())) pass(v);
  if (on_path_) held_ = forces_;
}

/// v less the forces of residuals that a path has let go. They are those of the last point: where weights die out
/// they have limits, which the rest of K does not know, and without which such weights would grow again. Where they
/// are felt they have none, for the path crosses another branch of M.
void GramTangent::hold(VectorRef v) {
  const auto vectors = eigen_.vectors().leftCols(K_.rows() - kept_);
  auto coordinates = coordinates_.head(vectors.cols());
  apply_transposed(vectors, held_, coordinates);
  apply(vectors, coordinates, rows_);
  lin_->vjp(rows_, params_);
  ++stats_.nvjp;
  if (!(params_.norm() <= kUnfelt * v.norm())) return;
  v -= params_;
  forces_ = rows_;
}

/// v <- v - J^T q with q = K^-1 J v. Returns the size of the error: a Cholesky factorisation solves a system
/// that differs from K by a few epsilon ||K||, so that J^T q is wrong by that times ||q|| / sigma_min(J), and
/// the smallest pivot is a little above sigma_min.
double GramTangent::pass(VectorRef v) {
  lin_->jvp(v, rows_);
  solve(rows_);
  forces_ += rows_;
  lin_->vjp(rows_, params_);
  v -= params_;
  ++stats_.njvp;
  ++stats_.nvjp;
  constexpr double kCaution = 10.0;
  return decomposed_ ? std::numeric_limits<double>::infinity()
                     : kCaution * kEpsilon * size_ * rows_.norm() / least_pivot_;
}

void GramTangent::multipliers(const ConstVectorRef& v, VectorRef out) {
  lin_->jvp(v, out);
  ++stats_.njvp;
  solve(out);
}

void GramTangent::normal_step(const ConstVectorRef& w, VectorRef out) {
  problem_->residual(w, rows_);
  rows_ = -rows_;
  solve(rows_);
  lin_->vjp(rows_, out);
  ++stats_.nvjp;
}

/// ||J^+ r||^2 = <r, K^+ r> and ||J^T r||^2 = <r, K r>: no vector of d entries is needed.
Offset GramTangent::offset(const Problem& problem, const ConstVectorRef& w) {
  const double c = problem.scale();
  Vector r(K_.rows());
  if (const Vector* scaled = lin_->scaled_residual())
    r = *scaled / c;
  else
    problem.residual(w, r);
  const double size = r.stableNorm();
  if (size == 0.0 || !std::isfinite(size)) return {size, size};
  r /= size;
  rows_.noalias() = K_.selfadjointView<Eigen::Lower>() * r;
  const double slope = r.dot(rows_);
  rows_ = r;
  solve(rows_);
  return {size * std::sqrt(std::max(r.dot(rows_), 0.0)), c * size * std::sqrt(std::max(slope, 0.0))};
}

Spectrum GramTangent::spectrum() {
  if (decomposed_) return spectrum_of(eigen_.values());
  Spectrum found = spectrum_of(symmetric_eigenvalues(K_));
  if (found.rank == K_.rows()) return found;
  found = track();  // a graded K, whose small eigenvalues Cholesky knows
  found.gap = (L_.diagonal().array().square() / K_.diagonal().array()).minCoeff() / kEpsilon;
  return found;
}

/// The eigenvalues of K rise.
Spectrum GramTangent::spectrum_of(const Vector& values) const {
  const Index n = values.size();
  const double c = problem_->scale(), largest = values[n - 1];
  Spectrum found;
  found.rank = count_rank(values);
  found.largest = c * largest;
  if (found.rank == 0) return found;
  found.smallest = c * values[n - found.rank];
  const double dropped = found.rank < n ? std::abs(values[n - found.rank - 1]) : 0.0;
  found.gap = found.smallest / (c * std::max(dropped, kEpsilon * largest));
  return found;
}

Spectrum GramTangent::track() {
  if (decomposed_) return spectrum_of(eigen_.values());
  const auto multiply = [this](const Vector& x, Vector& image) {
    image.noalias() = K_.selfadjointView<Eigen::Lower>() * x;
  };
  const auto divide = [this](const Vector& x, Vector& image) {
    image = x;
    cholesky_.solve(image);
  };
  const double c = problem_->scale();
  Spectrum found;
  found.rank = K_.rows();
  found.largest = c * dominant_eigenvalue(multiply, noise_, fast_, coordinates_, kSettled);
  found.smallest = c / dominant_eigenvalue(divide, noise_, slow_, coordinates_, kSettled);
  found.gap = found.smallest / (kEpsilon * found.largest);
  return found;
}

}  // namespace grokflow
