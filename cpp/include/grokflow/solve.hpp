// The flow, the landing, the drift and both phases, each in one call:
//
//   auto sol = grokflow::gradient_flow(problem, w0, 1e-3, {0.0, 1e5});   // dw/dt = -grad F(w) - 1e-3 w
//   if (!sol.success()) std::puts(sol.message.c_str());
//   sol.t, sol["train_loss"], sol.w_end;
//   auto phases = grokflow::two_phase(problem, w0, {1e-3, 1e-4});        // the limit, and flows beside it
//   phases.landing.w, phases.slow.w_end, phases.flows[1].distance;
//
// Method, curvature, pieces and tolerances are chosen as by the runs (runs.hpp), which they make, drive to
// the end and put away. Options that name no observables record every scalar quantity of the problem. They
// throw std::invalid_argument on misuse, before any work, and pass on what a function of the user's throws;
// numerical trouble is a status.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "grokflow/runs.hpp"

namespace grokflow {

/// What a run has left.
struct Solution {
  Solution() = default;
  explicit Solution(const FlowRun& run);

  bool success() const;
  /// A record by its name: one column for each time. Throws std::out_of_range for an unknown name.
  const Matrix& operator[](const std::string& name) const;

  Status status = Status::running;
  std::string message;                     ///< why it ended
  std::vector<double> t;                   ///< of the records
  Matrix w;                                ///< d x records, with `RunOptions::keep_states`
  std::map<std::string, Matrix> observed;  ///< entries x records
  double t_end = 0.0;
  Vector w_end;
  std::vector<Event> events;
  std::vector<ModeChange> mode_changes;
  Stats stats;
};

/// dw/dt = -grad F(w) - lam w from w0, with one rate or by ranges of parameters.
Solution gradient_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, double weight_decay,
                       const RunOptions& options);
Solution gradient_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                       const Decay& weight_decay, const RunOptions& options);

struct Limit {
  Landing landing;  ///< `w` is Phi(w0) if its status is `landed`
  Solution path;    ///< of the flow without decay, to where Newton's method took over
};

/// Where the flow without decay lands. Without an end of time: whenever that is.
Limit limit_map(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0, RunOptions options = {});

/// dw/ds = -P(w) w from w0, a point of the manifold of minimisers; or the drift of another regularizer.
Solution norm_flow(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                   const RunOptions& options);
Solution norm_flow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   const ConstVectorRef& w0, const RunOptions& options);

struct TwoPhase {
  struct Flow {
    double weight_decay;
    Solution solution;
    double distance;  ///< max ||w_lam(s / lam) - w_slow(s)|| from eps on, over max ||w_slow||; or nan
  };
  Landing landing;
  Solution fast, slow;      ///< `slow` has not run if the flow has not landed
  std::vector<Flow> flows;  ///< one for each rate
};

/// Both phases, and the flows that they are the limit of, at the same slow times. `options` hold tolerances,
/// limits and the like of each run; their times, and which states are kept, are given here.
TwoPhase two_phase(std::shared_ptr<const Problem> problem, const ConstVectorRef& w0,
                   const std::vector<double>& weight_decay, double s_end = 10.0, double eps = 0.1,
                   RunOptions options = {});

}  // namespace grokflow
