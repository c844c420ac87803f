#include "grokflow/integrate.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "numerics/power_iteration.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

using WallClock = std::chrono::steady_clock;

constexpr int kMostTries = 60;               // attempts at one step
constexpr std::int64_t kManyFailures = 256;  // attempts, after which it is asked whether others can succeed

WallClock::time_point end_of(double seconds) {
  const std::chrono::duration<double> span(seconds), most(WallClock::time_point::max() - WallClock::now());
  if (!(span < most)) return WallClock::time_point::max();
  return WallClock::now() + std::chrono::duration_cast<WallClock::duration>(span);
}

/// While it lives, evaluations of the flow end with the time.
class Timed {
 public:
  Timed(Flow& flow, WallClock::time_point deadline) : flow_(flow) { flow.deadline = deadline; }
  ~Timed() { flow_.deadline = WallClock::time_point::max(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  Flow& flow_;
};

/// Whether a step of length h does not move t reliably.
bool too_small(double h, double t) {
  return h < 10.0 * (std::nextafter(std::abs(t), std::numeric_limits<double>::infinity()) - std::abs(t));
}

/// A sentence for a run in trouble if round-off, multiplied by the fastest rate of f at w, moves w by its own
/// size within `span`; else empty.
std::string beyond_precision(Flow& flow, const ConstVectorRef& w, double span) {
  const double rate = fastest_rate([&](const ConstVectorRef& at, VectorRef f) { flow.rhs(at, f); }, w,
                                   unstructured(w.size()));
  const double swept = rate * span * std::numeric_limits<double>::epsilon();
  if (!(swept > 1.0)) return "";
  std::ostringstream text;
  text << " The fastest rate, " << rate << ", times the span of " << span << " is beyond 1 / "
       << std::numeric_limits<double>::epsilon()
       << ": double precision does not tell the slow part of the flow from round-off. Scale the data, or "
          "shorten the span.";
  return text.str();
}

}  // namespace

Integrator::Integrator(Flow& flow, std::unique_ptr<Stepper> stepper, const ConstVectorRef& w0, double t0,
                       double t1, Limits limits)
    : flow_(flow),
      stepper_(std::move(stepper)),
      t0_(t0),
      t1_(t1),
      clock_(0.0),
      previous_t_(t0),
      limits_(limits),
      deadline_(end_of(limits.max_time)) {
  if (!stepper_) throw std::invalid_argument("the stepper is a null pointer");
  if (!std::isfinite(t0) || !std::isfinite(t1) || t1 < t0)
    throw std::invalid_argument("the time span must be finite and not reversed");
  if (w0.size() != flow.size()) throw std::invalid_argument("w0 has not the size of the flow");
  if (!w0.allFinite()) throw std::invalid_argument("w0 must be finite");
  if (!(limits.first_step >= 0.0)) throw std::invalid_argument("first_step must not be negative");
  if (!(limits.max_step > 0.0)) throw std::invalid_argument("max_step must be positive");
  if (limits.max_steps < 1) throw std::invalid_argument("max_steps must be positive");
  if (!(limits.max_time > 0.0)) throw std::invalid_argument("max_time must be positive");
  const auto asked = flow.stats().nfev;
  h_ = stepper_->start(w0, limits.first_step);
  if (flow.stats().nfev == asked) throw std::invalid_argument("the stepper is one of another flow");
  if (t0 == t1)
    stop(Status::finished, "The end of the time span was reached.");
  else if (!(h_ > 0.0))
    stop(Status::non_finite, "The right-hand side is not finite at the start.");
}

Status Integrator::step() {
  if (status_ != Status::running) throw std::logic_error("the integration has ended: " + message_);
  if (limits_.whole_steps) return take_step();
  try {
    const Timed timed(flow_, deadline_);
    return take_step();
  } catch (const OutOfTime&) {
    return out_of_time();
  }
}

Status Integrator::take_step() {
  Stats& stats = flow_.stats();
  for (int tried = 1;; ++tried) {
    if (attempts_ >= limits_.max_steps) {
      stop(Status::max_steps,
           limit_message("The limit of " + std::to_string(limits_.max_steps) + " steps", "max_steps"));
      return status_;
    }
    if (WallClock::now() > deadline_) return out_of_time();
    double h = std::min(h_, limits_.max_step);
    const bool last = h >= remaining() * (1.0 - 1e-12);
    if (last) h = remaining();
    const Attempt attempt = stepper_->attempt(h);
    ++attempts_;
    if (attempt.success()) {
      h_ = stepper_->accept();  // first: if it throws, this step has not been taken
      ++stats.nsteps;
      previous_t_ = t();
      const double before = clock_.t();
      last_h_ = attempt.cut > 0.0 ? attempt.cut : h;
      clock_.advance(last_h_);
      if (last && attempt.cut == 0.0) {
        ended_ = true;
        stop(Status::finished, "The end of the time span was reached.");
      } else if (clock_.t() == before && h_ < h) {
        give_up(attempt, h);
      }
      return status_;
    }
    switch (attempt.outcome) {
      case Attempt::Outcome::done:
        ++stats.nrejected;
        break;
      case Attempt::Outcome::newton_failed:
      case Attempt::Outcome::off_manifold:
        ++stats.nfailed;
        break;
      case Attempt::Outcome::not_finite:
        ++stats.nfailed, ++stats.nnonfinite;
        break;
      case Attempt::Outcome::mode_unresolved:
        stop(Status::mode_unresolved, stepper_->trouble());
        return status_;
    }
    h_ = std::min(stepper_->reject(), 0.9 * h);
    if (tried == kMostTries || too_small(h_, clock_.t())) return give_up(attempt, h);
    const std::int64_t lost = stats.nfailed + stats.nrejected;
    if (lost % kManyFailures == 0 && 8 * lost > attempts_) {
      const std::string beyond = beyond_precision(flow_, w(), t() - t0_);
      if (!beyond.empty()) {
        std::ostringstream text;
        text << "Of " << attempts_ << " attempts up to t = " << t() << " " << lost << " have failed."
             << beyond;
        stop(Status::error_test_failed, text.str());
        return status_;
      }
    }
  }
}

void Integrator::interpolate(double t, VectorRef out) const {
  if (t == this->t()) {
    out = w();
    return;
  }
  const double end = ended_ ? t1_ - t0_ : clock_.t();
  const double back = std::clamp(end - (t - t0_), 0.0, last_h_);
  stepper_->interpolate(back, out);
  if (!flow_.retract(out)) stepper_->interpolate(back, out);
}

void Integrator::state(Archive& archive) {
  archive(clock_, previous_t_, last_h_, ended_, h_, attempts_, status_, message_);
  stepper_->state(archive);
  flow_.state(archive);  // last: what was frozen and factored again is no new work
}

bool Integrator::reopen() {
  if (status_ == Status::max_steps || status_ == Status::time_limit || status_ == Status::interrupted) {
    status_ = Status::running;
    message_.clear();
  }
  return status_ == Status::running;
}

void Integrator::stop(Status status, std::string message) {
  status_ = status;
  message_ = std::move(message);
}

Status Integrator::out_of_time() {
  stop(Status::time_limit, limit_message("The wall-clock limit max_time", "max_time"));
  return status_;
}

/// How far the run has come, and what has used up the attempts, if not progress.
std::string Integrator::limit_message(const std::string& limit, const std::string& name) const {
  const Stats& stats = flow_.stats();
  const bool failed = 25 * stats.nfailed > attempts_;
  const std::string of_flow = failed ? flow_.trouble() : "";
  std::ostringstream text;
  text << limit << " was reached at t = " << t() << ", with steps of " << last_h_;
  if (25 * stats.nnonfinite > attempts_)
    text << ". The right-hand side was not finite in " << stats.nnonfinite << " of " << attempts_
         << " attempts: the path runs along the edge of where it is.";
  else if (!of_flow.empty())
    text << ". No way back to the manifold of minimisers was found in " << stats.nfailed << " of "
         << attempts_ << " attempts." << of_flow;
  else if (failed)
    text << ". Newton's method failed in " << stats.nfailed << " of " << attempts_
         << " attempts: " << newton_trouble();
  else if (5 * stats.nrejected > attempts_)
    text << ". The error test failed in " << stats.nrejected << " of " << attempts_
         << " attempts: the gradient is noisy or jumps, or the tolerance is below round-off; try a larger "
            "rtol.";
  else
    text << "; raise " << name << " to go on.";
  return text.str();
}

std::string Integrator::newton_trouble() const {
  const std::string seen = stepper_->trouble();
  return seen.empty() ? "are the derivatives right? check_problem tells." : seen;
}

Status Integrator::give_up(Attempt attempt, double h) {
  std::ostringstream text;
  Status status = Status::step_too_small;
  const std::string swept = attempt.outcome == Attempt::Outcome::not_finite
                                ? ""
                                : flow_.trouble() + beyond_precision(flow_, w(), t1_ - t0_);
  if (attempt.outcome == Attempt::Outcome::not_finite) {
    status = Status::non_finite;
    text << "The right-hand side is not finite just after t = " << t() << ", however small the step.";
  } else if (attempt.outcome == Attempt::Outcome::off_manifold) {
    status = Status::left_manifold;
    text << "No way back to the manifold of minimisers was found after t = " << t() << " down to a step of "
         << h << ": is the rank of the Hessian about to change?";
  } else if (too_small(h_, clock_.t())) {
    text << "The step fell below the spacing of numbers at t = " << t();
    if (swept.empty())
      text << ": the solution blows up, or the right-hand side is not smooth there. An event on ||w|| stops "
              "before";
    text << '.';
  } else if (attempt.outcome == Attempt::Outcome::newton_failed) {
    status = Status::solver_failed;
    text << "Newton's method failed at t = " << t() << " down to a step of " << h << ": " << newton_trouble();
  } else {
    status = Status::error_test_failed;
    text << "The estimated error did not fall with the step at t = " << t() << " (down to a step of " << h
         << "): is the right-hand side noisy, or the tolerance below round-off?";
  }
  text << " ||w|| = " << w().stableNorm() << "." << swept;
  stop(status, text.str());
  return status_;
}

}  // namespace grokflow
