// The loop: acceptance of steps, limits, and why a run ended.
//
//   grokflow::Integrator integrator(flow, grokflow::make_bdf(flow), w0, 0.0, 1e4);
//   while (integrator.step() == grokflow::Status::running) use(integrator.t(), integrator.w());
//   if (integrator.status() != grokflow::Status::finished) explain(integrator.message());
#pragma once

#include <chrono>
#include <limits>
#include <memory>
#include <string>

#include "grokflow/stepper.hpp"

namespace grokflow {

struct Limits {
  double first_step = 0.0;  ///< 0: estimated
  double max_step = std::numeric_limits<double>::infinity();
  std::int64_t max_steps = 1'000'000;                         ///< attempts, accepted or not
  double max_time = std::numeric_limits<double>::infinity();  ///< seconds of wall clock
  /// `max_time` waits for the end of a step: a run that is taken up then takes the steps of one that had no
  /// limit, which is more than an attempt that was cut off can promise.
  bool whole_steps = false;
};

class Integrator {
 public:
  /// Integrates `flow` from w0 at t0 up to t1 >= t0. `flow` must outlive the integrator. Throws
  /// std::invalid_argument on misuse.
  Integrator(Flow& flow, std::unique_ptr<Stepper> stepper, const ConstVectorRef& w0, double t0, double t1,
             Limits limits = {});

  /// Takes one accepted step, or finds why there is none. An exception from the flow passes through and
  /// leaves the state at the last accepted step. Throws std::logic_error if the run has ended.
  Status step();

  /// Ends the run, e.g. at a terminal event.
  void stop(Status status, std::string message);

  Status status() const { return status_; }
  /// Why the run ended, for people.
  const std::string& message() const { return message_; }

  double t() const { return ended_ ? t1_ : t0_ + clock_.t(); }
  double previous_t() const { return previous_t_; }
  double end() const { return t1_; }
  /// A view of the state, until the next step.
  const ConstVectorRef w() const { return stepper_->w(); }
  int order() const { return stepper_->order(); }
  double slack() const { return stepper_->slack(); }
  /// The state at a time of the last step.
  void interpolate(double t, VectorRef out) const;
  Flow& flow() { return flow_; }

  /// Writes or reads the state between two steps, that of the flow and of the stepper included.
  void state(Archive& archive);
  /// Lets a run go on that a limit or the user has ended. Whether it goes on.
  bool reopen();

 private:
  /// How far t1 is away.
  double remaining() const { return ((t1_ - t0_) - clock_.t()) - clock_.lag(); }
  Status take_step();
  Status out_of_time();
  std::string limit_message(const std::string& limit, const std::string& name) const;
  std::string newton_trouble() const;
  Status give_up(Attempt attempt, double h);

  Flow& flow_;
  std::unique_ptr<Stepper> stepper_;
  double t0_, t1_;
  Clock clock_;  // since t0: the flow is autonomous, and its steps may be shorter than the spacing at t0
  double previous_t_;
  double last_h_ = 0.0;
  bool ended_ = false;  // at t1_
  double h_ = 0.0;      // to try next
  std::int64_t attempts_ = 0;
  Limits limits_;
  std::chrono::steady_clock::time_point deadline_;
  Status status_ = Status::running;
  std::string message_;
};

}  // namespace grokflow
