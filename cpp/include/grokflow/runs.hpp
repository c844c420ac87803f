// Whole runs: what `Flow`, `Modes`, `Stepper`, `Integrator` and `Recorder` make together. Each is built from
// a problem and one set of options, and goes on piece by piece where the problem is smooth only that way.
//
//   grokflow::RunOptions options{0.0, 10.0 / lam};
//   options.observables = {grokflow::observe(problem, "train_loss"), grokflow::observe(problem, "norm")};
//   grokflow::GradientRun run(problem, w0, grokflow::Decay(d, lam), options);  // dw/dt = -grad F(w) - lam w
//   if (run.advance() != grokflow::Status::finished) explain(run.message());
//   run.recorder().times(), run.recorder().values(0)
//
// The limit lam -> 0, in two phases:
//
//   grokflow::LandingRun fast(problem, w0, {0.0, grokflow::kForever});         // dw/dt = -grad F(w)
//   fast.advance();
//   grokflow::Landing landing = fast.settle();                                 // landing.w = Phi(w0)
//   auto norm = std::make_shared<grokflow::WeightedNorm>(grokflow::Decay(d, 1.0));
//   grokflow::DriftRun slow(problem, norm, landing.w, {0.0, 10.0});            // dw/ds = -P(w) w
//   slow.advance();
//
// Each in one call, with a record of all that can be observed: solve.hpp. A run owns, or shares, all that it
// points to. It throws std::invalid_argument on misuse, before any work.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grokflow/curvature.hpp"
#include "grokflow/drift_monitor.hpp"
#include "grokflow/landing.hpp"
#include "grokflow/modes.hpp"
#include "grokflow/run.hpp"
#include "grokflow/schedule.hpp"

namespace grokflow {

struct RunOptions {
  double t0 = 0.0, t1 = 0.0;    ///< start and end of time
  std::string method = "auto";  ///< "BDF", "Radau", "ROCK2", "Exponential", "Tsit5"; "auto": what suits
  int max_order = 5;            ///< of BDF
  /// Of each step. Without any atol it is rtol / 1000, times the size of the smallest block of w0 if that is
  /// below 1.
  Tolerance tolerance = {1e-6, Vector()};
  CurvatureKind curvature = CurvatureKind::automatic;
  CurvatureOptions solves = {};  ///< by that curvature
  double rtol_rank = 0.0;        ///< of a landing and a drift, as in `TangentOptions`
  Limits limits = {};
  SampleTimes sample_times = SampleTimes::log();
  bool keep_states = false;
  std::vector<Observable> observables = {};
  std::vector<Event> events = {};
  Run::Callback callback = {};            ///< called after each step; returns whether to stop
  std::function<void()> checkpoint = {};  ///< called between evaluations; it may throw to stop the run
};

/// A quantity of the problem, recorded under its own name or another. Throws std::invalid_argument if the
/// problem has none of that name.
Observable observe(std::shared_ptr<const Problem> problem, const std::string& quantity,
                   std::string name = {});
/// The value of a regularizer.
Observable observe(std::shared_ptr<const Regularizer> regularizer, std::string name = "regularizer");

/// What a flow runs on: a problem or, if it is smooth only piece by piece, a piece of it.
struct Ground {
  Ground(std::shared_ptr<const Problem> problem, const Decay& decay);

  std::shared_ptr<const Problem> whole, smooth;  ///< the same, or `smooth` is the piece
  std::shared_ptr<Piece> piece;                  ///< or null
};

/// A run of any flow, and what all runs have in common.
class FlowRun {
 public:
  FlowRun(std::unique_ptr<Flow> flow, const ConstVectorRef& w0, const RunOptions& options);
  virtual ~FlowRun() = default;
  FlowRun(const FlowRun&) = delete;
  FlowRun& operator=(const FlowRun&) = delete;

  /// One step. An exception of the flow, an observable, an event or the callback passes; the next step takes
  /// up where it fell.
  Status step() { return run_.step(); }
  /// As many steps as there are.
  Status advance();

  /// The name of the method: never "auto".
  const std::string& method() const { return method_; }
  Status status() const { return run_.status(); }
  /// Why the run ended, for people.
  const std::string& message() const { return integrator_.message(); }
  double t() const { return run_.t(); }
  const Vector& w() const { return run_.w(); }
  const std::vector<Event>& events() const { return run_.events(); }
  const Recorder& recorder() const { return recorder_; }
  const Integrator& integrator() const { return integrator_; }
  const Stats& stats() const { return flow_->stats(); }
  /// Writes the state between two steps, or reads it into a run that was made from the same arguments and
  /// has taken no step: it goes on as the other one would have, to the last bit.
  virtual void state(Archive& archive) { run_.state(archive); }
  /// Lets a run go on that a limit or the user has ended. Whether that drops a record, that of its end.
  bool reopen() { return run_.reopen(); }
  /// Of a flow that is smooth piece by piece.
  const std::vector<ModeChange>& mode_changes() const;

 protected:
  FlowRun(std::shared_ptr<const Problem> problem, std::unique_ptr<Flow> flow, std::unique_ptr<Modes> modes,
          const ConstVectorRef& w0, const RunOptions& options, Run::Watch watch = {});

  /// Null for a flow of one's own.
  const Problem* problem() const { return problem_.get(); }
  Flow& flow() { return *flow_; }
  Modes* modes() { return modes_.get(); }

 private:
  std::shared_ptr<const Problem> problem_;  // which the piece that the flow runs on refers to
  std::unique_ptr<Flow> flow_;
  std::unique_ptr<Modes> modes_;
  std::string method_;
  Recorder recorder_;
  Integrator integrator_;
  Run run_;
};

/// dw/dt = -grad F(w) - D w. Methods: BDF; Radau, the only one for a problem that is smooth piece by piece;
/// ROCK2; Exponential, exact where F is quadratic.
class GradientRun final : public FlowRun {
 public:
  /// Where the problem is smooth only piece by piece the decay is constant: there is no schedule.
  GradientRun(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, const Decay& decay,
              const RunOptions& options, const Schedule& schedule = {});

 private:
  GradientRun(const Ground& ground, const ConstVectorRef& w0, const Decay& decay, const RunOptions& options,
              const Schedule& schedule);
};

/// dw/dt = -grad F(w), until it has landed.
class LandingRun final : public FlowRun {
 public:
  /// `options.tolerance` is that of Phi(w0), to which the errors of all steps add up: each step keeps a small
  /// share of it. What neither side of a kink moves goes where small decay, by these weights, would push it: a
  /// `WeightedNorm`, or the norm.
  LandingRun(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, const RunOptions& options,
             const std::shared_ptr<const Regularizer>& regularizer = nullptr);

  /// The rest of the way, by Newton's method, and what the point is.
  Landing settle();
  const Stats& settling_stats() const { return watch_.stats(); }

  void state(Archive& archive) override;

 private:
  LandingRun(const Ground& ground, const ConstVectorRef& w0, const RunOptions& options, double rtol);
  Status look(double t, const ConstVectorRef& w, std::string& message);

  LandingWatch watch_;
};

/// Newton's method from w, beside the manifold of minimisers, to it. On a problem that is smooth piece by
/// piece it stays on the surfaces that w touches.
Landing pull_back(std::shared_ptr<const Problem> problem, const ConstVectorRef& w,
                  const LandingOptions& options);

/// dw/ds = -P(w) grad R(w) from w0, a point of the manifold of minimisers, by Tsit5. On a problem that is
/// smooth piece by piece R has to be a `WeightedNorm`; `before`, the last state of the flow that landed at w0,
/// tells how its neurons go on (modes.hpp).
class DriftRun final : public FlowRun {
 public:
  DriftRun(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
           const ConstVectorRef& w0, const RunOptions& options, DriftMonitor::Options stops = {},
           const Vector& before = {});

  const DriftMonitor& monitor() const { return monitor_; }

  void state(Archive& archive) override;

 private:
  DriftRun(const Ground& ground, std::shared_ptr<const Regularizer> regularizer, const ConstVectorRef& w0,
           const RunOptions& options, DriftMonitor::Options stops, const Vector& before);

  DriftMonitor monitor_;
};

/// The problem or, if problem or regularizer are smooth only piece by piece, the piece that the drift goes on in at
/// w, a point of the manifold. Throws std::invalid_argument if no mode is found there.
std::shared_ptr<const Problem> drifting_piece(std::shared_ptr<const Problem> problem, Vector w,
                                              std::shared_ptr<const Regularizer> regularizer);

}  // namespace grokflow
