#include "tangent/krylov.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "linearized.hpp"
#include "numerics/power_iteration.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kAccuracy = 1e-8;   // of J^+ b: the projector is applied twice, and Newton's method iterates
constexpr double kResidual = 1e-13;  // of H x = b, whose small eigenvalues it says little about
constexpr Index kMaxIterations = 10'000;
constexpr Index kRank = 200;                      // of the preconditioner, if it fits
constexpr double kExact = 1e-9, kTracked = 1e-4;  // change of an eigenvalue with one more product
constexpr Index kMaxProducts = 60;                // that find it
constexpr int kMaxCorrections = 30;               // of a point beside M
constexpr double kRoundOff = 1e-15;               // of a correction, relative to w

/// The largest eigenvalue of a semidefinite operator, by Lanczos with all vectors orthogonal to each other,
/// until it changes by less than `accuracy`. `apply(v, out)`.
template <class Apply>
double largest_eigenvalue(Apply&& apply, const Vector& start, double accuracy) {
  const Index most = std::min(kMaxProducts, start.size());
  Matrix basis(start.size(), most);
  Vector alpha(most), beta(most), image(start.size());
  basis.col(0) = start.normalized();
  double value = 0.0;
  for (Index k = 0; k < most; ++k) {
    apply(basis.col(k), image);
    alpha[k] = basis.col(k).dot(image);
    for (int pass = 0; pass < 2; ++pass)
      image -= basis.leftCols(k + 1) * (basis.leftCols(k + 1).transpose() * image);
    beta[k] = image.norm();
    const double last = std::exchange(value, tridiagonal_eigenvalues(alpha.head(k + 1), beta.head(k))[k]);
    if (k + 1 == most || value - last <= accuracy * value || beta[k] <= accuracy * value) break;
    basis.col(k + 1) = image / beta[k];
  }
  return value;
}

}  // namespace

KrylovTangent::KrylovTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options,
                             Stats& stats)
    : problem_(std::move(problem)),
      stats_(stats),
      rtol_rank_(options.rtol_rank > 0.0 ? options.rtol_rank : 1e-12),
      inverse_(
          problem_->num_residuals(), problem_->num_params(),
          std::min(kRank, RecycledSpectrum::rank_within(options.memory_budget, problem_->num_residuals())),
          rtol_rank_),
      on_hessian_(problem_->has_hvp() ? problem_->num_params() : 0),
      rows_(problem_->num_residuals()),
      params_(problem_->num_params()),
      image_(problem_->num_params()),
      curved_(problem_->num_params()),
      foot_(problem_->num_params()),
      step_(problem_->num_params()),
      noise_(unstructured(problem_->has_hvp() ? problem_->num_params() : 0)),
      dominant_(noise_) {}

bool KrylovTangent::linearize(const ConstVectorRef& w) {
  lin_ = &linearized(*problem_, w, on_);
  ++stats_.nlinearize;
  inverse_.take(*lin_);
  // Where the residual vanished once it does so all along M, but for what a nearly singular K lets pass.
  by_kernel_ =
      by_kernel_ || (problem_->has_residuals() && (!problem_->has_hvp() || residual_vanishes(*problem_, w)));
  if (!by_kernel_) measure_hessian();
  return w.allFinite();
}

/// ||H||, by which round-off is told from the rest.
void KrylovTangent::measure_hessian() {
  const auto apply = [this](const Vector& v, Vector& out) { apply_hessian(v, out); };
  on_hessian_.begin(dominant_eigenvalue(apply, noise_, dominant_, image_));
}

/// MINRES finds no kernel in a Hessian whose zero eigenvalues are only small: P is that at the foot of w, the
/// point of M that Newton's method with the Hessian of the last point of M reaches from w.
bool KrylovTangent::linearize_beside(const ConstVectorRef& w) {
  foot_ = w;
  lin_ = on_.get();
  inverse_.take(*lin_);
  if (!w.allFinite() || (!by_kernel_ && !take_back(foot_))) return false;
  lin_ = &linearized(*problem_, foot_, beside_);
  ++stats_.nlinearize;
  inverse_.take(*lin_);
  return true;
}

bool KrylovTangent::take_back(VectorRef w) {
  double last = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kMaxCorrections; ++i) {
    normal_step(w, step_);
    const double size = step_.norm();
    if (!(size < last)) break;
    w += step_;
    last = size;
    if (size <= kRoundOff * w.norm()) break;
  }
  return last <= 10.0 * kRoundOff * w.norm();
}

void KrylovTangent::check() const {
  if (checkpoint) checkpoint();
}

void KrylovTangent::apply_hessian(const Vector& v, Vector& out) {
  check();
  ++stats_.niter, ++stats_.nhvp;
  lin_->hvp(v, out);
}

/// x = H^+ b, where b has the round-off of H times a vector of that size.
void KrylovTangent::solve_hessian(const Vector& b, Vector& x, double size) {
  ++stats_.nsolve;
  on_hessian_.solve([this](const Vector& v, Vector& out) { apply_hessian(v, out); }, b, x, kResidual,
                    kRoundOff * on_hessian_.norm() * size, rtol_rank_, kMaxIterations);
}

void KrylovTangent::apply_kernel(const Vector& v, Vector& out) {
  check();
  lin_->vjp(v, params_);
  lin_->jvp(params_, out);
  ++stats_.njvp, ++stats_.nvjp;
}

/// x = J^+ b, where b has the round-off of J times a vector of that size.
void KrylovTangent::solve_kernel(const Vector& b, VectorRef x, double accuracy, double size) {
  ++stats_.nsolve;
  inverse_.solve(b, x, accuracy, kRoundOff * size, [this] {
    check();
    ++stats_.niter, ++stats_.njvp, ++stats_.nvjp;
  });
}

void KrylovTangent::project(VectorRef v) {
  ++stats_.nproject;
  const double size = v.norm();  // P v may be small beside v, whose round-off stays
  for (int pass = 0; pass < 2; ++pass) {
    if (by_kernel_) {
      lin_->jvp(v, rows_);
      ++stats_.njvp;
      solve_kernel(rows_, params_, kAccuracy, size);
    } else {
      apply_hessian(v, image_);
      solve_hessian(image_, params_, size);
    }
    v -= params_;
  }
}

void KrylovTangent::normal_step(const ConstVectorRef& w, VectorRef out) {
  if (by_kernel_) {
    problem_->residual(w, rows_);
    solve_kernel(rows_, out, kAccuracy, w.norm());
  } else {
    problem_->gradient(w, image_);
    ++stats_.nfev;
    // Beside M the gradient is not quite in the range of H, and MINRES grows in the kernel: hence
    // H^+ (H^+ H grad F) for H^+ grad F.
    const double size = image_.norm();
    apply_hessian(image_, curved_);
    solve_hessian(curved_, image_, size);
    solve_hessian(image_, params_, w.norm());
    out = params_;
  }
  out = -out;
}

Spectrum KrylovTangent::spectrum() { return by_kernel_ ? spectrum_of_kernel(kExact) : spectrum_of_hessian(); }

Spectrum KrylovTangent::track() { return by_kernel_ ? spectrum_of_kernel(kTracked) : spectrum_of_hessian(); }

/// From the largest eigenvalues of K and of K^+, on the range of K.
Spectrum KrylovTangent::spectrum_of_kernel(double accuracy) {
  Vector start(rows_.size());
  apply_kernel(unstructured(rows_.size()), start);
  Spectrum found;
  if (!(start.norm() > 0.0)) return found;
  const double largest =
      largest_eigenvalue([this](const Vector& v, Vector& out) { apply_kernel(v, out); }, start, accuracy);
  const double inverse = largest_eigenvalue(
      [&](const Vector& v, Vector& out) {
        solve_kernel(v, params_, std::max(accuracy, kAccuracy), 0.0);
        out = inverse_.multiplier();
      },
      start, accuracy);
  found.largest = problem_->scale() * largest;
  found.smallest = problem_->scale() / inverse;
  found.gap = 1.0 / (inverse * largest * std::numeric_limits<double>::epsilon());
  return found;
}

/// A solve for the image of a vector without structure meets every part of the spectrum but the kernel.
Spectrum KrylovTangent::spectrum_of_hessian() {
  Vector b(params_.size()), x(params_.size());
  apply_hessian(unstructured(params_.size()), b);
  solve_hessian(b, x, 1.0);
  const Vector values = on_hessian_.ritz_values();
  Spectrum found;
  if (values.size() == 0) return found;
  const double largest = values.cwiseAbs().maxCoeff(), threshold = rtol_rank_ * largest;
  double smallest = largest, dropped = std::numeric_limits<double>::epsilon() * largest;
  for (double value : values) {
    if (std::abs(value) <= threshold) {
      dropped = std::max(dropped, std::abs(value));
      continue;
    }
    smallest = std::min(smallest, std::abs(value));
    if (value < 0.0) ++found.num_negative;
    found.lowest = std::min(found.lowest, value);
  }
  found.smallest = smallest;
  found.largest = largest;
  found.gap = smallest / dropped;
  return found;
}

}  // namespace grokflow
