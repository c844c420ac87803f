#include "grokflow/landing.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kPace = 1.5;         // ratio of the times at which the flow is looked at
constexpr double kContraction = 0.5;  // that a second Newton step must show
constexpr double kClearGap = 10.0;    // below, the rank is a matter of taste
constexpr double kGrowth = 1.02;      // of ||w|| while log t doubles, that is running away
constexpr double kEscape = 1e3;  // |eigenvalue| * time, by which a flow has left a saddle if it ever does
constexpr int kMaxNewton = 30;
constexpr double kRoundOff = 4.0 * std::numeric_limits<double>::epsilon();

}  // namespace

LandingWatch::LandingWatch(std::shared_ptr<const Problem> problem, const LandingOptions& options)
    : problem_(std::move(problem)),
      options_(options),
      kind_(choose_tangent_space(*problem_, options.curvature, options.tangent.memory_budget)),
      tangent_(make_tangent_space(kind_, problem_, options.tangent, stats_)),
      step_(problem_->num_params()),
      probe_(problem_->num_params()) {}

TangentSpace* LandingWatch::full_hessian() {
  if (kind_ == CurvatureKind::dense) return tangent_.get();
  if (full_) return full_.get();
  const Index d = problem_->num_params();
  if (problem_->has_hessian() && d <= kDenseLimit)
    full_kind_ = CurvatureKind::dense;
  else if (problem_->has_hvp())
    full_kind_ = CurvatureKind::krylov;
  else
    return nullptr;
  full_ = make_tangent_space(full_kind_, problem_, options_.tangent, stats_);
  return full_.get();
}

Status LandingWatch::step(double t, const ConstVectorRef& w) {
  if (t < next_look_) return Status::running;
  next_look_ = kPace * t;
  t_ = t;
  if (t > previous_t_ * previous_t_) {  // log t has doubled
    previous_t_ = std::max(t, 10.0);
    older_norm_ = std::exchange(previous_norm_, w.stableNorm());
  }
  // Off M the tangent directions have small eigenvalues that `dense` and `krylov` take for normal ones, so
  // that their Newton step errs to first order: these wait until that is below the tolerance.
  const double careful = std::min(1e-8, 0.01 * options_.rtol);
  const bool by_residual = kind_ == CurvatureKind::gram;
  if (close(*tangent_, w, by_residual ? 0.1 * std::sqrt(options_.rtol) : careful)) return Status::landed;
  problem_->gradient(w, step_);
  const double slope = step_.norm();
  if (first_slope_ < 0.0) first_slope_ = slope;
  if (slope > 1e-6 * first_slope_) return Status::running;
  // At a critical point where the residual does not vanish the kernel J J^T knows nothing of Hess F.
  TangentSpace* full = full_hessian();
  if (by_residual && full && close(*full, w, careful)) return Status::landed;
  return slope == 0.0 && at_rest_on_saddle(full, w) ? Status::saddle : Status::running;
}

/// Whether a flow whose gradient is zero in every digit stays there only because of that.
bool LandingWatch::at_rest_on_saddle(TangentSpace* full, const ConstVectorRef& w) const {
  return full && full->linearize(w) && full->spectrum().num_negative > 0;
}

/// Whether Newton's method converges from w on, by a step of at most theta ||w||, to a point that is no
/// saddle.
bool LandingWatch::close(TangentSpace& tangent, const ConstVectorRef& w, double theta) {
  if (!tangent.linearize(w)) return false;
  tangent.normal_step(w, step_);
  const double size = step_.norm();
  if (!(size <= theta * w.norm())) return false;
  probe_ = w + step_;
  if (kind_ == CurvatureKind::gram && &tangent == tangent_.get()) {
    Vector r(problem_->num_residuals());
    problem_->residual(w, r);
    const double before = r.norm();
    problem_->residual(probe_, r);
    return r.norm() <= kContraction * before || residual_vanishes(*problem_, probe_);
  }
  tangent.normal_step(probe_, step_);
  const bool contracts = step_.norm() <= std::max(kContraction * size, kRoundOff * w.norm());
  return contracts && tangent.spectrum().num_negative == 0;
}

/// w <- w - H^+ grad F(w), again and again, until round-off stops it.
void LandingWatch::newton(TangentSpace& tangent, Vector& w) {
  double last = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kMaxNewton; ++i) {
    if (!tangent.linearize(w)) return;
    tangent.normal_step(w, step_);
    const double size = step_.norm();
    if (!(size < last)) return;
    w += step_;
    if (size <= kRoundOff * w.norm()) return;
    last = size;
  }
}

Landing LandingWatch::settle(const ConstVectorRef& w, Status status) {
  Landing landing{status, "", w, 0.0, std::numeric_limits<double>::quiet_NaN(), kind_, {}};
  TangentSpace* tangent = tangent_.get();
  const bool came_to_rest =
      status == Status::landed || status == Status::finished || status == Status::saddle;
  if (status == Status::landed) {
    newton(*tangent, landing.w);
    if (kind_ == CurvatureKind::gram && !residual_vanishes(*problem_, landing.w) && full_hessian()) {
      landing.w = w;
      tangent = full_hessian();
      landing.curvature = full_kind_;
      newton(*tangent, landing.w);
    }
  } else if (came_to_rest && full_hessian()) {
    tangent = full_hessian();
    if (full_) landing.curvature = full_kind_;
  }
  landing.pulled = (landing.w - w).norm();
  if (problem_->has_residuals()) {
    Vector r(problem_->num_residuals());
    problem_->residual(landing.w, r);
    landing.residual_norm = r.norm();
  }
  if (landing.w.allFinite() && tangent->linearize(landing.w)) landing.spectrum = tangent->spectrum();
  if (came_to_rest) diagnose(landing);
  return landing;
}

void LandingWatch::diagnose(Landing& landing) {
  const Spectrum& spectrum = landing.spectrum;
  std::ostringstream text;
  text.precision(3);
  const double norm = landing.w.stableNorm();
  const bool moving = landing.status == Status::finished;  // not at rest in the longest of times
  const bool blind =
      problem_->has_residuals() && !problem_->has_hessian() && !residual_vanishes(*problem_, landing.w);
  if (moving && norm > kGrowth * older_norm_) {
    landing.status = Status::no_minimiser;
    text << "The weights run away: ||w|| is still growing, to " << norm << " at t = " << t_
         << ", while the loss falls to " << problem_->loss(landing.w)
         << ". It has no minimiser at finite weights, and no limit of the flow exists.";
  } else if (spectrum.num_negative > 0 && (!moving || -spectrum.lowest * t_ > kEscape)) {
    landing.status = Status::saddle;
    text << "The flow came to rest on a saddle: the Hessian has " << spectrum.num_negative
         << (spectrum.num_negative == 1 ? " negative eigenvalue" : " negative eigenvalues")
         << ". Start beside it, e.g. from w0 plus a small random vector.";
  } else if (moving && blind) {
    text << "The flow came to rest where the residual is not zero, ||r|| = " << landing.residual_norm
         << ": whether on a minimiser or on a saddle, only the Hessian can tell. Give the problem hvp=.";
  } else if (moving) {
    landing.status = Status::degenerate;
    text << "The flow approaches its limit at an algebraic rate: the smallest eigenvalue of the Hessian, "
         << spectrum.smallest << " at t = " << t_
         << ", vanishes there, and the minimisers form no manifold around it.";
  } else if (spectrum.rank > 0 && spectrum.gap < kClearGap && options_.tangent.rtol_rank == 0.0) {
    landing.status = Status::degenerate;
    text << "The rank of the Hessian cannot be decided: its eigenvalues have no gap around the threshold "
            "(the smallest "
            "that counts is "
         << spectrum.smallest << ", only " << spectrum.gap << " times the next). Set rtol_rank.";
  } else {
    const bool zero = !problem_->has_residuals() || residual_vanishes(*problem_, landing.w);
    text << "The flow has landed on a minimiser.";
    if (!zero) text << " The residual is not zero there: ||r|| = " << landing.residual_norm << ".";
  }
  landing.message = text.str();
}

}  // namespace grokflow
