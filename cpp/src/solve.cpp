#include "grokflow/solve.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace grokflow {
namespace {

constexpr int kComparedTimes = 60;  // of the flows with the drift

Matrix table(const std::vector<double>& values, Index rows) {
  return Eigen::Map<const Matrix>(values.data(), rows, static_cast<Index>(values.size()) / rows);
}

RunOptions observing(const std::shared_ptr<const Problem>& problem, RunOptions options) {
  if (!problem) throw std::invalid_argument("the problem is a null pointer");
  if (options.observables.empty())
    for (const Quantity& quantity : problem->quantities())
      if (quantity.size == 0) options.observables.push_back(observe(problem, quantity.name));
  return options;
}

/// 0, and slow times from eps to s_end in equal ratios.
std::vector<double> slow_times(double eps, double s_end) {
  std::vector<double> times = {0.0};
  for (int k = 0; k < kComparedTimes - 1; ++k)
    times.push_back(eps * std::pow(s_end / eps, double(k) / (kComparedTimes - 1)));
  times.push_back(s_end);
  return times;
}

/// Both have recorded states at the same slow times, of which the first is 0.
double distance(const Solution& flow, const Solution& slow) {
  const Index count = static_cast<Index>(std::min(flow.t.size(), slow.t.size()));
  if (!flow.success() || count < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto apart = flow.w.middleCols(1, count - 1) - slow.w.middleCols(1, count - 1);
  return apart.colwise().norm().maxCoeff() / slow.w.colwise().norm().maxCoeff();
}

}  // namespace

Solution::Solution(const FlowRun& run)
    : status(run.status()),
      message(run.message()),
      t(run.recorder().times()),
      t_end(run.t()),
      w_end(run.w()),
      events(run.events()),
      mode_changes(run.mode_changes()),
      stats(run.stats()) {
  const Recorder& recorder = run.recorder();
  w = table(recorder.states(), w_end.size());
  for (std::size_t i = 0; i < recorder.observables().size(); ++i) {
    const Observable& observable = recorder.observables()[i];
    observed[observable.name] = table(recorder.values(i), std::max<Index>(observable.size, 1));
  }
}

bool Solution::success() const {
  return status == Status::finished || status == Status::event || status == Status::landed ||
         status == Status::stationary;
}

const Matrix& Solution::operator[](const std::string& name) const {
  const auto found = observed.find(name);
  if (found != observed.end()) return found->second;
  std::string names;
  for (const auto& [known, values] : observed) names += (names.empty() ? "" : ", ") + known;
  throw std::out_of_range("'" + name + "' was not recorded, but: " + names);
}

Solution gradient_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, double weight_decay,
                       const RunOptions& options) {
  const RunOptions observed = observing(problem, options);
  return gradient_flow(problem, w0, Decay(problem->num_params(), weight_decay), observed);
}

Solution gradient_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                       const Decay& weight_decay, const RunOptions& options) {
  GradientRun run(problem, w0, weight_decay, observing(problem, options));
  run.advance();
  return Solution(run);
}

Limit limit_map(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, RunOptions options) {
  if (options.t1 == options.t0) options.t1 = kForever;
  LandingRun run(problem, w0, observing(problem, std::move(options)));
  run.advance();
  return {run.settle(), Solution(run)};
}

Solution norm_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                   const RunOptions& options) {
  const RunOptions observed = observing(problem, options);
  return norm_flow(problem, std::make_shared<WeightedNorm>(Decay(problem->num_params(), 1.0)), w0, observed);
}

Solution norm_flow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   const ConstVectorRef& w0, const RunOptions& options) {
  DriftRun run(problem, std::move(regularizer), w0, observing(problem, options));
  run.advance();
  return Solution(run);
}

TwoPhase two_phase(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                   const std::vector<double>& weight_decay, double s_end, double eps, RunOptions options) {
  if (!(eps > 0.0) || !(eps < s_end))
    throw std::invalid_argument("eps must be positive, and smaller than s_end");
  for (const double lam : weight_decay)
    if (!(lam > 0.0)) throw std::invalid_argument("each rate of weight decay must be positive");
  options.t0 = 0.0;
  options.keep_states = true;
  const std::vector<double> slow = slow_times(eps, s_end);

  TwoPhase phases{};
  RunOptions landing = options;
  landing.t1 = kForever;
  landing.keep_states = false;
  landing.sample_times = SampleTimes::log();
  Limit limit = limit_map(problem, w0, landing);
  phases.landing = std::move(limit.landing);
  phases.fast = std::move(limit.path);
  if (phases.landing.status == Status::landed) {
    options.t1 = s_end;
    options.sample_times = SampleTimes::given(slow);
    RunOptions drift = options;
    drift.method = "auto";
    phases.slow = norm_flow(problem, phases.landing.w, drift);
  }
  for (const double lam : weight_decay) {
    std::vector<double> times = slow;
    for (double& time : times) time = std::min(time / lam, s_end / lam);
    options.t1 = s_end / lam;
    options.sample_times = SampleTimes::given(std::move(times));
    Solution flow = gradient_flow(problem, w0, lam, options);
    const double apart = distance(flow, phases.slow);
    phases.flows.push_back({lam, std::move(flow), apart});
  }
  return phases;
}

}  // namespace grokflow
