#include "tangent_krylov.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tangent_parts.hpp"

namespace grokflow {
namespace {

constexpr double kAccuracy = 1e-13;  // of one solve; the projector is applied twice
constexpr Index kMaxIterations = 10'000;
constexpr int kMaxCorrections = 30;  // of a point beside M
constexpr double kRoundOff = 1e-15;  // of a correction, relative to w

}  // namespace

KrylovTangent::KrylovTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options,
                             Stats& stats)
    : problem_(std::move(problem)),
      stats_(stats),
      rtol_rank_(options.rtol_rank > 0.0 ? options.rtol_rank : 1e-12),
      on_kernel_(problem_->num_residuals()),
      on_hessian_(problem_->has_hvp() ? problem_->num_params() : 0),
      rows_(problem_->num_residuals()),
      multiplier_(problem_->num_residuals()),
      params_(problem_->num_params()),
      image_(problem_->num_params()),
      curved_(problem_->num_params()),
      foot_(problem_->num_params()),
      step_(problem_->num_params()) {}

bool KrylovTangent::linearize(const ConstVectorRef& w) {
  problem_->linearize(w, on_);
  ++stats_.nlinearize;
  lin_ = on_.get();
  by_kernel_ = problem_->has_residuals() && (!problem_->has_hvp() || residual_vanishes(*problem_, w));
  return w.allFinite();
}

/// MINRES finds no kernel in a Hessian whose zero eigenvalues are only small: P is that at the foot of w, the
/// point of M that Newton's method with the Hessian of the last point of M reaches from w.
bool KrylovTangent::linearize_beside(const ConstVectorRef& w) {
  foot_ = w;
  lin_ = on_.get();
  if (!w.allFinite() || (!by_kernel_ && !take_back(foot_))) return false;
  problem_->linearize(foot_, beside_);
  ++stats_.nlinearize;
  lin_ = beside_.get();
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

/// out = K v or H v.
void KrylovTangent::apply(const Vector& v, Vector& out) {
  ++stats_.niter;
  if (!by_kernel_) {
    ++stats_.nhvp;
    return lin_->hvp(v, out);
  }
  lin_->vjp(v, params_);
  lin_->jvp(params_, out);
  ++stats_.njvp, ++stats_.nvjp;
}

void KrylovTangent::solve(const Vector& b, Vector& x) {
  ++stats_.nsolve;
  (by_kernel_ ? on_kernel_ : on_hessian_)
      .solve([this](const Vector& v, Vector& out) { apply(v, out); }, b, x, kAccuracy, rtol_rank_,
             kMaxIterations);
}

void KrylovTangent::project(VectorRef v) {
  ++stats_.nproject;
  for (int pass = 0; pass < 2; ++pass) {
    if (by_kernel_) {
      lin_->jvp(v, rows_);
      solve(rows_, multiplier_);
      lin_->vjp(multiplier_, params_);
      v -= params_;
      ++stats_.njvp, ++stats_.nvjp;
    } else {
      lin_->hvp(v, image_);
      ++stats_.nhvp;
      if (image_.norm() <= rtol_rank_ * on_hessian_.norm() * v.norm()) return;  // nothing but the kernel
      solve(image_, params_);
      v -= params_;
    }
  }
}

void KrylovTangent::normal_step(const ConstVectorRef& w, VectorRef out) {
  if (by_kernel_) {
    problem_->residual(w, rows_);
    solve(rows_, multiplier_);
    lin_->vjp(multiplier_, out);
    ++stats_.nvjp;
  } else {
    problem_->gradient(w, image_);
    ++stats_.nfev;
    params_.setZero();
    if (image_.norm() > 0.1 * kRoundOff * on_hessian_.norm() * w.norm()) {
      // Beside M the gradient is not quite in the range of H, and MINRES grows in the kernel: H^+ (H^+ H grad
      // F).
      lin_->hvp(image_, curved_);
      ++stats_.nhvp;
      solve(curved_, image_);
      solve(image_, params_);
    }
    out = params_;
  }
  out = -out;
}

/// A solve for the image of a vector without structure meets every part of the spectrum but the kernel.
Spectrum KrylovTangent::spectrum() {
  Vector start = unstructured(by_kernel_ ? problem_->num_residuals() : problem_->num_params());
  Vector b(start.size()), x(start.size());
  apply(start, b);
  solve(b, x);
  return spectrum_of_last_solve();
}

Spectrum KrylovTangent::spectrum_of_last_solve() const {
  const Vector values = (by_kernel_ ? on_kernel_ : on_hessian_).ritz_values();
  Spectrum found;
  if (values.size() == 0) return found;
  const double factor = by_kernel_ ? problem_->scale() : 1.0;
  const double largest = values.cwiseAbs().maxCoeff(), threshold = rtol_rank_ * largest;
  double smallest = largest, dropped = std::numeric_limits<double>::epsilon() * largest;
  for (double value : values) {
    if (std::abs(value) <= threshold) {
      dropped = std::max(dropped, std::abs(value));
      continue;
    }
    smallest = std::min(smallest, std::abs(value));
    if (value < 0.0) ++found.num_negative;
    found.lowest = std::min(found.lowest, factor * value);
  }
  found.smallest = factor * smallest;
  found.largest = factor * largest;
  found.gap = smallest / dropped;
  return found;
}

}  // namespace grokflow
