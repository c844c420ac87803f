#include "grokflow/integrate.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace grokflow {
namespace {

constexpr int kMaxFailures = 60;  // attempts at one step

/// The smallest step that still moves t reliably.
double smallest_step(double t) {
  return 10.0 * (std::nextafter(std::abs(t), std::numeric_limits<double>::infinity()) - std::abs(t));
}

}  // namespace

Integrator::Integrator(Flow& flow, std::unique_ptr<Stepper> stepper, const ConstVectorRef& w0, double t0,
                       double t1, Limits limits)
    : flow_(flow),
      stepper_(std::move(stepper)),
      clock_(t0),
      previous_t_(t0),
      t1_(t1),
      limits_(limits),
      began_(std::chrono::steady_clock::now()) {
  if (!std::isfinite(t0) || !std::isfinite(t1) || t1 < t0)
    throw std::invalid_argument("the time span must be finite and not reversed");
  if (w0.size() != flow.size()) throw std::invalid_argument("w0 has not the size of the flow");
  if (!w0.allFinite()) throw std::invalid_argument("w0 must be finite");
  if (!(limits.max_step > 0.0)) throw std::invalid_argument("max_step must be positive");
  h_ = stepper_->start(w0, limits.first_step);
  if (t0 == t1) stop(Status::finished, "The end of the time span was reached.");
}

Status Integrator::step() {
  if (status_ != Status::running) throw std::logic_error("the integration has ended: " + message_);
  Stats& stats = flow_.stats();
  for (int failures = 0;; ++failures) {
    if (attempts_ >= limits_.max_steps) {
      stop(Status::max_steps, "The limit of " + std::to_string(limits_.max_steps) +
                                  " steps was reached; raise max_steps to go on.");
      return status_;
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began_;
    if (elapsed.count() > limits_.max_time) {
      stop(Status::time_limit, "The wall-clock limit max_time was reached.");
      return status_;
    }
    const double remaining = (t1_ - clock_.t()) - clock_.lag();
    double h = std::min(h_, limits_.max_step);
    const bool last = h >= remaining * (1.0 - 1e-12);
    if (last) h = remaining;
    const Attempt attempt = stepper_->attempt(h);
    ++attempts_;
    if (attempt.success()) {
      h_ = stepper_->accept();  // first: if it throws, this step has not been taken
      ++stats.nsteps;
      previous_t_ = clock_.t();
      clock_.advance(attempt.cut > 0.0 ? attempt.cut : h);
      if (last && attempt.cut == 0.0) {
        ended_ = true;
        stop(Status::finished, "The end of the time span was reached.");
      } else if (t() == previous_t_ && h_ < h) {
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
    if (failures >= kMaxFailures || h_ < smallest_step(t())) return give_up(attempt, h);
  }
}

void Integrator::stop(Status status, std::string message) {
  status_ = status;
  message_ = std::move(message);
}

Status Integrator::give_up(Attempt attempt, double h) {
  const bool too_small = h_ < smallest_step(t());
  std::ostringstream text;
  Status status = Status::step_too_small;
  if (attempt.outcome == Attempt::Outcome::not_finite) {
    status = Status::non_finite;
    text << "The right-hand side is not finite just after t = " << t() << ", however small the step.";
  } else if (attempt.outcome == Attempt::Outcome::off_manifold) {
    status = Status::left_manifold;
    text << "No way back to the manifold of minimisers was found after t = " << t() << " down to a step of "
         << h << ": is the rank of the Hessian about to change?";
  } else if (too_small) {
    text << "The step fell below the spacing of numbers at t = " << t()
         << ": the solution blows up, or the right-hand side is not smooth there.";
  } else if (attempt.outcome == Attempt::Outcome::newton_failed) {
    status = Status::solver_failed;
    text << "Newton's method failed at t = " << t() << " down to a step of " << h
         << ": are the derivatives right? check_problem tells.";
  } else {
    status = Status::error_test_failed;
    text << "The estimated error did not fall with the step at t = " << t() << " (down to a step of " << h
         << "): is the right-hand side noisy, or the tolerance below round-off?";
  }
  text << " ||w|| = " << w().stableNorm() << ".";
  stop(status, text.str());
  return status_;
}

}  // namespace grokflow
