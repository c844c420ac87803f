#include "grokflow/runs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "grokflow/gradient_flow.hpp"
#include "grokflow/norm_flow.hpp"
#include "grokflow/penalised.hpp"
#include "grokflow/workspace.hpp"
#include "steppers/exponential.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kShareOfStep = 0.03;  // tolerance of a step over that of a landing, to which all add up
constexpr double kFinest = 100.0 * std::numeric_limits<double>::epsilon();  // relative, that a step keeps
constexpr double kResolved = 1e-11;   // change of a weight, over ||w||, below which a drift is round-off
constexpr double kZero = 1e-280;      // |w| below which rtol |w| comes near the smallest numbers
constexpr double kNegligible = 1e-3;  // of the relative tolerance, in the slope of a drift normal to M

void require_size(const Problem& problem, const ConstVectorRef& w) {
  if (w.size() != problem.num_params())
    throw std::invalid_argument("the weights have " + std::to_string(w.size()) +
                                " entries; the problem has " + std::to_string(problem.num_params()) +
                                " parameters");
}

/// The lower quartile of |w|, which a few weights that happen to be small do not change; zeros are left out.
double size_of(const ConstVectorRef& w) {
  std::vector<double> sizes;
  for (const double entry : w)
    if (std::abs(entry) > kZero) sizes.push_back(std::abs(entry));
  if (sizes.empty()) return 1.0;
  const auto quartile = sizes.begin() + static_cast<std::ptrdiff_t>((sizes.size() - 1) / 4);
  std::nth_element(sizes.begin(), quartile, sizes.end());
  return *quartile;
}

/// Small weights are weights: out of a saddle their errors grow as they do.
RunOptions with_atol(RunOptions options, const Problem* problem, const ConstVectorRef& w0,
                     double finest = 0.0) {
  if (options.tolerance.atol.size() > 0) return options;
  double size = 1.0;
  for (const Block& block : problem ? problem->blocks() : std::vector<Block>{{"w", 0, {w0.size()}}})
    if (block.begin + block.size() <= w0.size())  // w0 of another size is refused later
      size = std::min(size, size_of(w0.segment(block.begin, block.size())));
  options.tolerance.atol = Vector::Constant(1, std::max(1e-3 * options.tolerance.rtol * size, finest));
  return options;
}

TangentOptions tangent_options(const RunOptions& options) {
  return {options.rtol_rank, options.solves.memory_budget, 0.0, options.checkpoint};
}

std::unique_ptr<OneStepMethod> make_one_step_method(const std::string& name, Flow& flow,
                                                    const Tolerance& tolerance) {
  if (name == "Radau") return make_radau(flow, tolerance);
  if (name == "Tsit5") return make_tsit5(flow, tolerance);
  return nullptr;
}

/// The method `name`; "auto" becomes the name of what suits the flow.
std::unique_ptr<Stepper> make_stepper_of_piece(Flow& flow, Modes* modes, const RunOptions& options,
                                               std::string& name) {
  if (options.tolerance.rtol < kFinest)
    throw std::invalid_argument("rtol is below 2.2e-14, which double precision does not keep");
  if (name == "auto" && modes) name = "Radau";
  auto method = make_one_step_method(name, flow, options.tolerance);
  if (modes && method) return make_piecewise(flow, std::move(method), *modes, options.t0);
  if (modes)
    throw std::invalid_argument("the method is " + name +
                                "; a flow that is smooth only piece by piece takes Radau or Tsit5");
  if (method) return method;
  if (name == "auto" || name == "Exponential") {
    auto* gradient = dynamic_cast<GradientFlow*>(&flow);
    auto exact = gradient
                     ? make_exponential(*gradient, options.tolerance, options.t1 - options.t0, name == "auto")
                     : nullptr;
    if (!exact && name != "auto")
      throw std::invalid_argument(
          "method is 'Exponential', which is for the linear flow of a quadratic loss, solved by 'gram' with "
          "one "
          "rate of decay, or by 'dense', and not longer than its decomposition is accurate; 'auto' takes BDF "
          "then");
    name = exact ? "Exponential" : "BDF";
    if (exact) return exact;
  }
  if (name == "BDF") return make_bdf(flow, {options.tolerance, options.max_order});
  if (name == "ROCK2") return make_rock2(flow, options.tolerance);
  throw std::invalid_argument("unknown method '" + name + "'");
}

std::unique_ptr<Stepper> make_stepper(Flow& flow, Modes* modes, const RunOptions& options,
                                      std::string& name) {
  auto* scheduled = dynamic_cast<GradientFlow*>(&flow);
  const auto make = [&flow, modes, options, scheduled, &name] {
    RunOptions of_piece = options;
    if (scheduled) of_piece.t0 = scheduled->begin_of_piece();
    return make_stepper_of_piece(flow, modes, of_piece, name);
  };
  return scheduled && scheduled->num_pieces() > 1 ? make_scheduled(*scheduled, make) : make();
}

std::unique_ptr<Modes> make_modes(const Ground& ground, const Decay& decay, const RunOptions& options) {
  if (!ground.piece) return nullptr;
  return std::make_unique<Modes>(ground.piece, gradient_forces(ground.piece, decay), options.tolerance);
}

/// Of the drift: the velocity of a unit that slides is known if the regularizer is the norm, and multipliers
/// if K is.
std::unique_ptr<Modes> make_modes(const Ground& ground, std::shared_ptr<const Regularizer> regularizer,
                                  const RunOptions& options, const Vector& before = {}) {
  if (!ground.piece) return nullptr;
  if (!dynamic_cast<const WeightedNorm*>(regularizer.get()) &&
      !dynamic_cast<const L1Norm*>(regularizer.get()))
    throw std::invalid_argument(
        "the regularizer must be the norm, or rates by block: the activation of this network has a kink, "
        "and its neurons slide along data points; take activation='smooth_relu' for another");
  auto forces =
      drift_forces(ground.piece, on_piece(std::move(regularizer), *ground.piece), tangent_options(options));
  auto modes = std::make_unique<Modes>(ground.piece, std::move(forces), options.tolerance);
  if (before.size() > 0) modes->come_from(before);
  return modes;
}

std::unique_ptr<Flow> make_gradient_flow(const Ground& ground, const Decay& decay, const RunOptions& options,
                                         const Schedule& schedule = {}) {
  const auto curvature = options.method == "ROCK2" ? CurvatureKind::none : options.curvature;
  const auto* penalised = schedule ? dynamic_cast<const PenalisedProblem*>(ground.smooth.get()) : nullptr;
  const auto changing = penalised ? penalised->copy() : nullptr;
  auto flow = std::make_unique<GradientFlow>(changing ? changing : ground.smooth, decay, curvature,
                                             options.solves, schedule, options.t0);
  if (ground.piece && schedule)
    ground.piece->decay_by([made = flow.get()](double t) { return made->decay_factor(t); });
  if (changing)
    changing->decay_by(
        [made = flow.get()] { return made->decay_factor(made->begin_of_piece() + made->time()); });
  return flow;
}

std::unique_ptr<Flow> make_norm_flow(const Ground& ground, std::shared_ptr<const Regularizer> regularizer,
                                     const ConstVectorRef& w0, const RunOptions& options) {
  require_size(*ground.whole, w0);
  if (!regularizer) throw std::invalid_argument("the regularizer is a null pointer");
  if (const auto* norm = dynamic_cast<const WeightedNorm*>(regularizer.get()))
    norm->weights().require_size(w0.size());
  if (ground.piece) regularizer = on_piece(std::move(regularizer), *ground.piece);
  const CurvatureKind kind =
      choose_tangent_space(*ground.smooth, options.curvature, options.solves.memory_budget, w0);
  TangentOptions tangent = tangent_options(options);
  // What is normal to M is undone on the way back to it.
  tangent.accuracy = kNegligible * options.tolerance.rtol;
  return std::make_unique<NormFlow>(ground.smooth, std::move(regularizer), kind, tangent);
}

std::unique_ptr<Flow> watched_by(const std::function<void()>& checkpoint, std::unique_ptr<Flow> flow) {
  flow->checkpoint = checkpoint;
  return flow;
}

Decay no_decay(const std::shared_ptr<const Problem>& problem) {
  if (!problem) throw std::invalid_argument("the problem is a null pointer");
  return {problem->num_params(), 0.0};
}

/// Where the drift of this regularizer has kinks of its own.
std::shared_ptr<const Problem> with_kinks_of(std::shared_ptr<const Problem> problem,
                                             const std::shared_ptr<const Regularizer>& regularizer) {
  const bool has = dynamic_cast<const L1Norm*>(regularizer.get()) != nullptr;
  return has ? penalised(std::move(problem), regularizer, 1.0) : problem;
}

/// Those of the norm, which alone moves on a problem that has kinks.
Decay weights_of(const std::shared_ptr<const Problem>& problem, const Regularizer* regularizer) {
  const auto* norm = dynamic_cast<const WeightedNorm*>(regularizer);
  return norm ? norm->weights() : no_decay(problem);
}

/// For a flow without decay, to which one with ever less by these weights tends.
Ground leaning(Ground ground, const Regularizer* regularizer) {
  const auto* norm = dynamic_cast<const WeightedNorm*>(regularizer);
  if (ground.piece) ground.piece->lean(norm ? norm->weights() : Decay(ground.whole->num_params(), 1.0));
  return ground;
}

RunOptions in_finer_steps(RunOptions options) {
  options.tolerance.rtol = std::max(kShareOfStep * options.tolerance.rtol, kFinest);
  options.tolerance.atol *= kShareOfStep;
  return options;
}

RunOptions with_method(RunOptions options, const char* method) {
  if (options.method == "auto") options.method = method;
  return options;
}

/// With the end of time from w0, if that was asked for.
RunOptions to_the_end(RunOptions options, const Problem& problem, const ConstVectorRef& w0) {
  if (options.t1 == kForever) options.t1 = forever(problem, w0);
  return options;
}

}  // namespace

Observable observe(std::shared_ptr<const Problem> problem, const std::string& quantity, std::string name) {
  for (const Quantity& known : problem->quantities()) {
    if (known.name != quantity) continue;
    auto evaluate = [problem, evaluate = known.evaluate](double, const ConstVectorRef& w, VectorRef out) {
      evaluate(w, out);
    };
    return {name.empty() ? quantity : std::move(name), known.size, std::move(evaluate)};
  }
  throw std::invalid_argument("unknown observable '" + quantity + "'");
}

Observable observe(std::shared_ptr<const Regularizer> regularizer, std::string name) {
  // Of all copies of the observable.
  auto gradients = std::make_shared<WorkspacePool<Vector>>();
  auto evaluate = [regularizer = std::move(regularizer), gradients = std::move(gradients)](
                      double, const ConstVectorRef& w, VectorRef out) {
    const auto gradient = gradients->borrow([&w] { return std::make_unique<Vector>(w.size()); });
    out[0] = regularizer->evaluate(w, *gradient);
  };
  return {std::move(name), 0, std::move(evaluate)};
}

Ground::Ground(std::shared_ptr<const Problem> problem, const Decay& decay)
    : whole(std::move(problem)), smooth(whole) {
  if (!whole) throw std::invalid_argument("the problem is a null pointer");
  if (const auto* kinked = piecewise(*whole)) smooth = piece = kinked->make_piece(decay);
}

FlowRun::FlowRun(std::unique_ptr<Flow> flow, const ConstVectorRef& w0, const RunOptions& options)
    : FlowRun(nullptr, std::move(flow), nullptr, w0, with_atol(options, nullptr, w0)) {}

FlowRun::FlowRun(std::shared_ptr<const Problem> problem, std::unique_ptr<Flow> flow,
                 std::unique_ptr<Modes> modes, const ConstVectorRef& w0, const RunOptions& options,
                 Run::Watch watch)
    : problem_(std::move(problem)),
      flow_(watched_by(options.checkpoint, std::move(flow))),
      modes_(std::move(modes)),
      method_(options.method),
      recorder_(flow_->size(), options.observables, options.keep_states, options.sample_times),
      integrator_(*flow_, make_stepper(*flow_, modes_.get(), options, method_), w0, options.t0, options.t1,
                  options.limits),
      run_(integrator_, recorder_, options.events, options.callback, std::move(watch)) {}

Status FlowRun::advance() {
  do step();
  while (status() == Status::running);
  return status();
}

const std::vector<ModeChange>& FlowRun::mode_changes() const {
  static const std::vector<ModeChange> none;
  return modes_ ? modes_->changes() : none;
}

GradientRun::GradientRun(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, const Decay& decay,
                         const RunOptions& options, const Schedule& schedule)
    : GradientRun(Ground(problem, decay), w0, decay, with_atol(options, problem.get(), w0), schedule) {}

GradientRun::GradientRun(const Ground& ground, const ConstVectorRef& w0, const Decay& decay,
                         const RunOptions& options, const Schedule& schedule)
    : FlowRun(ground.whole, make_gradient_flow(ground, decay, options, schedule),
              make_modes(ground, decay, options), w0, options) {}

LandingRun::LandingRun(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                       const RunOptions& options, const std::shared_ptr<const Regularizer>& regularizer)
    : LandingRun(leaning(Ground(problem, no_decay(problem)), regularizer.get()), w0,
                 in_finer_steps(with_atol(to_the_end(options, *problem, w0), problem.get(), w0)),
                 options.tolerance.rtol) {}

LandingRun::LandingRun(const Ground& ground, const ConstVectorRef& w0, const RunOptions& options, double rtol)
    : FlowRun(
          ground.whole, make_gradient_flow(ground, Decay(ground.whole->num_params(), 0.0), options),
          make_modes(ground, Decay(ground.whole->num_params(), 0.0), options), w0, options,
          [this](double t, const ConstVectorRef& w, std::string& message) { return look(t, w, message); }),
      watch_(ground.smooth, {rtol, options.curvature, tangent_options(options), options.limits.max_time,
                             options.limits.whole_steps}) {}

Status LandingRun::look(double t, const ConstVectorRef& w, std::string& message) {
  if (const double escape = problem()->escape_loss(); escape > 0.0 && problem()->loss(w) < escape) {
    message =
        "The loss has no minimiser at finite weights: every sample is on its side, and the weights run away.";
    return Status::no_minimiser;
  }
  Status status = watch_.step(t, w, stats());
  // Newton's method may take over once it stays in the mode.
  if (status == Status::landed && modes() && !modes()->contains(watch_.settle(w, status).w))
    status = Status::running;
  if (status == Status::landed) message = "The flow is close to a minimiser.";
  if (status == Status::no_minimiser)
    message =
        "The loss has no minimiser at finite weights: samples whose labels are certain are all but "
        "fitted, and the weights run away along directions that the others do not feel.";
  if (status == Status::saddle) message = "The flow is at rest on a saddle.";
  if (status == Status::finished) message = "The flow has gone on for all times.";
  if (status == Status::time_limit) message = "The wall-clock limit max_time was reached.";
  return status;
}

Landing LandingRun::settle() {
  Landing landing = watch_.settle(w(), integrator().status());
  if (landing.status != Status::landed || !modes()) return landing;
  if (problem()->has_residuals() && residual_vanishes(*problem(), landing.w)) return landing;
  if (const std::string where = modes()->falls_beside(landing.w); !where.empty()) {
    landing.status = Status::saddle;
    landing.message =
        "The flow came to rest on a surface where the gradient jumps, and the loss falls to one "
        "side of it: " +
        where + ". Start beside it, e.g. from w0 plus a small random vector.";
  }
  return landing;
}

void LandingRun::state(Archive& archive) {
  FlowRun::state(archive);
  archive(watch_);
}

Landing pull_back(std::shared_ptr<const Problem> problem, const ConstVectorRef& w,
                  const LandingOptions& options) {
  const Decay none = no_decay(problem);
  const Ground ground(std::move(problem), none);
  require_size(*ground.whole, w);
  if (ground.piece) stay_on_surfaces(*ground.piece, w);
  return LandingWatch(ground.smooth, options).settle(w, Status::landed);
}

DriftRun::DriftRun(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   const ConstVectorRef& w0, const RunOptions& options, DriftMonitor::Options stops,
                   const Vector& before)
    : DriftRun(Ground(with_kinks_of(problem, regularizer), weights_of(problem, regularizer.get())),
               regularizer, w0,
               with_method(with_atol(options, problem.get(), w0, kResolved * w0.stableNorm()), "Tsit5"),
               stops, before) {}

DriftRun::DriftRun(const Ground& ground, std::shared_ptr<const Regularizer> regularizer,
                   const ConstVectorRef& w0, const RunOptions& options, DriftMonitor::Options stops,
                   const Vector& before)
    : FlowRun(ground.whole, make_norm_flow(ground, regularizer, w0, options),
              make_modes(ground, regularizer, options, before), w0, options,
              [this](double s, const ConstVectorRef&, std::string& message) {
                return monitor_.step(s, message);
              }),
      monitor_(static_cast<NormFlow&>(flow()), stops) {}

void DriftRun::state(Archive& archive) {
  FlowRun::state(archive);
  archive(monitor_);
}

std::shared_ptr<const Problem> drifting_piece(std::shared_ptr<const Problem> problem, Vector w,
                                              std::shared_ptr<const Regularizer> regularizer) {
  const Decay weights = weights_of(problem, regularizer.get());
  const Ground ground(with_kinks_of(std::move(problem), regularizer), weights);
  if (!ground.piece) return ground.whole;
  const auto modes = make_modes(ground, std::move(regularizer), with_atol({}, ground.whole.get(), w));
  modes->begin(0.0, w);
  if (!modes->trouble().empty()) throw std::invalid_argument(modes->trouble());
  return {ground.piece.get(), [ground](const Problem*) {}};
}

}  // namespace grokflow
