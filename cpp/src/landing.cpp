#include "grokflow/landing.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>

#include "curvature/full_hessian.hpp"
#include "numerics/power_iteration.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kPace = 1.5;         // ratio of the times at which the flow is looked at
constexpr double kContraction = 0.5;  // that a second Newton step must show
constexpr int kMaxNewton = 30;
constexpr double kFallen = 1e-3;           // of a gradient over its largest, where the fast phase is over
constexpr double kUnseen = 1e-3;           // of the tolerance of w, which the flow does not resolve
constexpr double kSlow = 10.0;             // rate * time, which an exponential approach has long left behind
constexpr double kSlowest = 1e-150;        // of rates
constexpr double kSwept = 1e14;            // a time after which round-off may sweep what no Hessian holds
constexpr double kSteady = 1.1;            // ratio of ||w|| over a decade that tends to no zero
constexpr std::int64_t kShortLook = 1000;  // iterations that a look may take at any time
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Thrown by a look that has gone on for too long.
struct Unfinished {
  Status status;
};

bool came_to_rest(Status status) {
  return status == Status::landed || status == Status::finished || status == Status::saddle;
}

double rate_at(const Problem& problem, const ConstVectorRef& w) {
  return fastest_rate([&](const ConstVectorRef& at, VectorRef slope) { problem.gradient(at, slope); }, w,
                      unstructured(w.size()));
}

/// Evaluations and products, each about a gradient.
std::int64_t work(const Stats& stats, const Problem& problem) {
  return stats.nfev + stats.njvp + stats.nvjp + stats.nhvp +
         (problem.has_hessian() ? problem.num_params() * stats.nhessian : 0);
}

}  // namespace

double forever(const Problem& problem, const ConstVectorRef& w0) {
  const double rate = rate_at(problem, w0);
  return rate < 1.0 ? kForever / std::max(rate, kSlowest) : kForever;
}

LandingWatch::LandingWatch(std::shared_ptr<const Problem> problem, const LandingOptions& options)
    : problem_(std::move(problem)),
      options_(options),
      kind_(choose_tangent_space(*problem_, options.curvature, options.tangent.memory_budget)),
      step_(problem_->num_params()),
      probe_(problem_->num_params()),
      noise_(unstructured(problem_->num_params())),
      dominant_(noise_),
      began_(std::chrono::steady_clock::now()) {
  options_.tangent.checkpoint = [this, signals = options.tangent.checkpoint] {
    if (signals) signals();
    check();
  };
  tangent_ = make_tangent_space(kind_, problem_, options_.tangent, stats_);
}

void LandingWatch::check() const {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began_;
  if (timed_ && elapsed.count() > options_.max_time) throw Unfinished{Status::time_limit};
  if (stats_.niter > budget_) throw Unfinished{Status::running};
}

TangentSpace* LandingWatch::full_hessian() {
  if (kind_ == CurvatureKind::dense) return tangent_.get();
  if (full_) return full_.get();
  full_kind_ = full_hessian_kind(*problem_);
  if (full_kind_ == CurvatureKind::none) return nullptr;
  full_ = make_tangent_space(full_kind_, problem_, options_.tangent, stats_);
  return full_.get();
}

void LandingWatch::state(Archive& archive) {
  archive(dominant_, t_, next_look_, previous_t_, previous_norm_, older_norm_, largest_, steepest_, pull_,
          pulled_at_, efolds_, *tangent_);
  bool full = full_ != nullptr;
  archive(full);
  if (full) archive(*full_hessian());
  archive(stats_);
}

Status LandingWatch::step(double t, const ConstVectorRef& w, const Stats& flow) {
  if (t < next_look_) return Status::running;
  next_look_ = kPace * t;
  t_ = t;
  if (t > 10.0 * previous_t_) {
    previous_t_ = t;
    older_norm_ = std::exchange(previous_norm_, w.stableNorm());
    largest_ = std::max(largest_, older_norm_);
    if (t > kForever && t * rate_at(*problem_, w) > kForever) return Status::finished;
    const bool steady = older_norm_ < kSteady * previous_norm_;
    if (t > kSwept && steady && blind(w) && at_rest(w)) return Status::finished;
  }
  budget_ = stats_.niter + kShortLook + work(flow, *problem_) - work(stats_, *problem_);
  timed_ = !options_.whole_looks;
  try {
    check();
    return look(w);
  } catch (const Unfinished& look) {
    return look.status;
  }
}

Status LandingWatch::look(const ConstVectorRef& w) {
  if (still_falling(w)) return Status::running;
  if (t_ == previous_t_ && runs_away(w)) return Status::no_minimiser;  // once in a decade, for what it costs
  // Off M the tangent directions have small eigenvalues that `dense` and `krylov` take for normal ones, so
  // that their Newton step errs to first order: these wait until that is below the tolerance.
  const bool by_residual = kind_ == CurvatureKind::gram;
  if (close(*tangent_, w, by_residual ? 0.1 * std::sqrt(options_.rtol) : 0.0))
    if (const Status end = arrive(w); end != Status::running) return end;
  // At a critical point where the residual does not vanish the kernel J J^T knows nothing of Hess F.
  TangentSpace* full = by_residual && !residual_stays(*problem_, w) ? nullptr : full_hessian();
  if (by_residual && full && close(*full, w, 0.0))
    if (const Status end = arrive(w); end != Status::running) return end;
  return rests_on_saddle(full, w) ? Status::saddle : Status::running;
}

/// Whether the gradient has yet to fall, as far as the flow resolves. Large weights have M close by from the
/// start, beside their own norm: it is where they land, but first they have to learn their data.
bool LandingWatch::still_falling(const ConstVectorRef& w) {
  problem_->gradient(w, step_);
  ++stats_.nfev;
  const double slope = step_.stableNorm();
  steepest_ = std::max(steepest_, slope);
  const double digit = std::max(kNoise * kRoundOff, kUnseen * options_.rtol);
  return slope > kFallen * steepest_ && slope > noise_of_gradient(w, digit, [](Vector&) {});
}

/// How large w has been of late: where it tends to zero, it is no measure itself.
double LandingWatch::size_of(const ConstVectorRef& w) const {
  return std::max({w.stableNorm(), previous_norm_, older_norm_});
}

/// By how much the gradient at w, which is in `step_`, changes with a digit of w, or with the last one that it
/// sees; with a digit of the size of w, if it sees none. `change` is shown each of these changes.
double LandingWatch::noise_of_gradient(const ConstVectorRef& w, double digit,
                                       const std::function<void(Vector&)>& change) {
  Vector probed(w.size());
  double noise = 0.0;
  const auto shifted = [&](std::initializer_list<Vector> shifts) {
    for (double part = digit; noise == 0.0 && part < 1e-3; part *= 8.0) {
      for (const Vector& shift : shifts) {
        probe_ = w + part * shift;
        problem_->gradient(probe_, probed);
        ++stats_.nfev;
        probed -= step_;
        noise = std::max(noise, probed.stableNorm());
        change(probed);
      }
    }
  };
  if (w.stableNorm() > kRoundOff * size_of(w)) shifted({w, w.cwiseProduct(noise_.cwiseSign())});
  if (noise == 0.0) shifted({size_of(w) / noise_.norm() * noise_});
  return noise;
}

/// Whether the flow stays here only because round-off holds it: the gradient is zero in every digit, or has been
/// round-off for longer than it takes to leave a saddle.
bool LandingWatch::rests_on_saddle(TangentSpace* full, const ConstVectorRef& w) {
  const bool rests = at_rest(w), exactly = step_.isZero(0.0);
  const bool pulled = rests && full && full->linearize(w) && full->spectrum().num_negative > 0;
  // What pulls may have grown since the last look: near a degenerate saddle, with the weights.
  const double before = std::exchange(pull_, pulled ? -full->spectrum().lowest : 0.0);
  const double since = std::exchange(pulled_at_, t_);
  efolds_ = pulled ? efolds_ + std::min(before, pull_) * (t_ - since) : 0.0;
  return pulled && (exactly || efolds_ > kEscape);
}

/// The longest step to M of which the error counts for nothing, be it of first order.
double LandingWatch::least_step(const ConstVectorRef& w) const {
  return std::min(1e-8, 0.01 * options_.rtol) * size_of(w);
}

/// Whether the normal step from w is longer than that, as is seen without a solve: it is at least
/// ||grad F|| / ||Hess F||.
bool LandingWatch::out_of_reach(const ConstVectorRef& w) {
  problem_->gradient(w, step_);
  ++stats_.nfev;
  const double slope = step_.norm();
  problem_->linearize(w, lin_);
  lin_->checkpoint = options_.tangent.checkpoint;
  ++stats_.nlinearize;
  Matrix H;
  if (!problem_->has_hvp()) {
    H.resize(w.size(), w.size());
    form_hessian(*problem_, *lin_, H, stats_);
  }
  const auto apply = [&](const Vector& v, Vector& image) {
    if (H.size() > 0) {
      image.noalias() = H * v;
    } else {
      lin_->check();
      lin_->hvp(v, image);
      ++stats_.nhvp;
    }
  };
  constexpr double kAtMost = 2.0;
  return slope > kAtMost * least_step(w) * dominant_eigenvalue(apply, noise_, dominant_, probe_);
}

/// Whether Newton's method converges from w on, by a step of at most theta ||w||, or the least, to a point that
/// is no saddle.
bool LandingWatch::close(TangentSpace& tangent, const ConstVectorRef& w, double theta) {
  const bool in_kernel_space = kind_ == CurvatureKind::gram && &tangent == tangent_.get();
  if (!in_kernel_space && out_of_reach(w)) return false;
  if (!tangent.linearize(w)) return false;
  tangent.normal_step(w, step_);
  const double size = step_.norm();
  if (!(size <= std::max(theta * w.norm(), least_step(w)))) return false;
  probe_ = w + step_;
  if (in_kernel_space) {
    Vector r(problem_->num_residuals());
    problem_->residual(w, r);
    const double before = r.norm();
    problem_->residual(probe_, r);
    return r.norm() <= kContraction * before || residual_vanishes(*problem_, probe_);
  }
  tangent.normal_step(probe_, step_);
  const bool contracts = step_.norm() <= std::max(kContraction * size, kRoundOff * w.norm());
  if (tangent.spectrum().num_negative > 0) return false;
  // Both steps may be round-off. Without a kernel that is a minimiser; with one, a saddle may be about to open.
  return contracts || (tangent.spectrum().rank == w.size() && !blind(w) && at_rest(w));
}

/// Whether a minimiser cannot be told from a saddle at w, where the residual stays, for want of the Hessian.
bool LandingWatch::blind(const ConstVectorRef& w) const {
  return problem_->has_residuals() && !problem_->has_hessian() && !residual_vanishes(*problem_, w);
}

/// Whether the gradient at w, which is in `step_` then, is round-off.
bool LandingWatch::at_rest(const ConstVectorRef& w) {
  problem_->gradient(w, step_);
  ++stats_.nfev;
  const double noise = noise_of_gradient(w, kRoundOff, [](Vector&) {});
  return step_.stableNorm() <= kNoise * std::max(noise, std::numeric_limits<double>::min());
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

/// The same to the end, with the full Hessian if the residual stays; returns what has looked at it.
TangentSpace& LandingWatch::descend(Vector& w) {
  const Vector start = w;
  newton(*tangent_, w);
  if (kind_ != CurvatureKind::gram || residual_vanishes(*problem_, w) || !full_hessian()) return *tangent_;
  w = start;
  newton(*full_, w);
  return *full_;
}

/// `landed` if Newton's method ends on a critical point, whatever it has taken for the kernel of the Hessian: the
/// gradient there is round-off, also the part of it along that kernel, and no eigenvalue is negative. Round-off is by
/// how much it changes with the last digits of w that it sees.
Status LandingWatch::arrive(Vector w) {
  budget_ = std::numeric_limits<std::int64_t>::max();  // so near, what it is may cost what it does
  TangentSpace& tangent = descend(w);
  if (runs_away(w)) return Status::no_minimiser;
  problem_->gradient(w, step_);
  ++stats_.nfev;
  const double slope = step_.stableNorm();
  Vector along = step_;
  tangent.project(along);
  double noise_along = 0.0;
  const double noise = noise_of_gradient(w, kRoundOff, [&](Vector& change) {
    tangent.project(change);
    noise_along = std::max(noise_along, change.stableNorm());
  });
  if (slope > kNoise * noise || along.stableNorm() > kNoise * (noise_along + kRoundOff * noise))
    return Status::running;
  const bool saddle =
      tangent.linearize(w) && tangent.spectrum().num_negative > 0;  // which the flow may leave
  return saddle ? Status::running : Status::landed;
}

/// Whether the flow goes on for ever by samples whose labels are certain: along what the others do not feel, with no
/// more curvature than makes the gradient fall as 1/t.
bool LandingWatch::runs_away(const ConstVectorRef& w) {
  if (!problem_->faint_gradient(w, probe_)) return false;
  problem_->linearize(w, lin_);
  lin_->hvp(probe_, step_);
  ++stats_.nlinearize, ++stats_.nhvp;
  return t_ * probe_.dot(step_) <= kSlow * probe_.squaredNorm();
}

Landing LandingWatch::settle(const ConstVectorRef& w, Status status) {
  Landing landing{status, "", w, 0.0, kNan, kind_, {-1, kNan, kNan, kNan, 0, 0.0}};
  if (problem_->has_residuals()) {
    Vector r(problem_->num_residuals());
    problem_->residual(w, r);
    landing.residual_norm = r.norm();
  }
  if (status == Status::time_limit || status == Status::no_minimiser) return landing;
  // At rest it is told what the flow has come to, whatever that costs.
  budget_ = came_to_rest(status) ? std::numeric_limits<std::int64_t>::max() : stats_.niter + kShortLook;
  timed_ = true;
  const Landing before = landing;
  try {
    inspect(landing, w);
  } catch (const Unfinished& look) {
    landing = before;
    if (look.status == Status::running) return landing;
    landing.status = look.status;
    landing.message = "The wall-clock limit max_time was reached in a look at the Hessian.";
  }
  return landing;
}

void LandingWatch::inspect(Landing& landing, const ConstVectorRef& w) {
  const bool landed = landing.status == Status::landed;
  TangentSpace* tangent = tangent_.get();
  if (landed)
    tangent = &descend(landing.w);
  else if (came_to_rest(landing.status) && full_hessian())
    tangent = full_hessian();
  if (tangent == full_.get()) landing.curvature = full_kind_;
  landing.pulled = (landing.w - w).norm();
  if (problem_->has_residuals()) {
    Vector r(problem_->num_residuals());
    problem_->residual(landing.w, r);
    landing.residual_norm = r.norm();
  }
  if (landing.w.allFinite() && tangent->linearize(landing.w)) landing.spectrum = tangent->spectrum();
  if (came_to_rest(landing.status)) diagnose(landing, *tangent);
}

}  // namespace grokflow
