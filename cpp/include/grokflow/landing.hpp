// Where the unregularised flow dw/dt = -grad F(w) lands: Phi(w0) = lim w(t), t -> infinity.
//
// Near the manifold M of minimisers Phi(w) = w - H^+ grad F(w) up to the square of that step. So the stiff
// flow is integrated with lam = 0 until the step is small (sqrt(rtol) of ||w||, where its square is the
// tolerance), and Newton's method along the normal space does the rest, to round-off:
//
//   grokflow::LandingWatch watch(problem, {rtol});
//   ... the flow with lam = 0 over [0, grokflow::kForever] with `watch` as the watch of its `Run` ...
//   grokflow::Landing landing = watch.settle(run.w(), integrator.status());
//
// `LandingRun` (runs.hpp) is all of that.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "grokflow/tangent.hpp"

namespace grokflow {

/// An end of time that every flow which lands at all has reached long before, for rates of about 1.
constexpr double kForever = 1e18;

/// The same from w0: later if all rates there are smaller.
double forever(const Problem& problem, const ConstVectorRef& w0);

struct LandingOptions {
  double rtol = 1e-6;
  CurvatureKind curvature = CurvatureKind::automatic;
  TangentOptions tangent = {};
  double max_time = std::numeric_limits<double>::infinity();  ///< seconds from the start of the watch
  bool whole_looks = false;  ///< only the end of the flow has a time limit: as `Limits::whole_steps`
};

struct Landing {
  Status status;            ///< landed, saddle, degenerate, no_minimiser, or why the flow stopped before
  std::string message;      ///< in a sentence, if it is not what the flow has said
  Vector w;                 ///< on M if landed, else the last state of the flow
  double pulled;            ///< ||w - the last state of the flow||
  double residual_norm;     ///< nan without residuals
  CurvatureKind curvature;  ///< the strategy that looked at the point
  Spectrum spectrum;        ///< of Hess F(w)
};

class LandingWatch {
 public:
  /// Throws std::invalid_argument if the problem does not offer what the curvature needs.
  LandingWatch(std::shared_ptr<const Problem> problem, const LandingOptions& options);

  LandingWatch(const LandingWatch&) = delete;

  /// Told of every step, and of the work of the flow so far; `landed` once Newton's method can take over,
  /// `saddle` at rest on one, `no_minimiser`, `time_limit`, `finished` after `kForever`, else `running`. It looks at
  /// times that grow by half, and works no more than the flow.
  Status step(double t, const ConstVectorRef& w, const Stats& flow);

  /// The end of a flow: Newton's method to round-off if it has landed, and what the Hessian says of the
  /// point.
  Landing settle(const ConstVectorRef& w, Status status);

  const Stats& stats() const { return stats_; }

  /// Writes or reads what it has seen so far.
  void state(Archive& archive);

 private:
  static constexpr double kRoundOff = 4.0 * std::numeric_limits<double>::epsilon();
  static constexpr double kNoise = 100.0;  // of a gradient, over its change with the last digits of w
  static constexpr double kEscape = 1e3;   // |eigenvalue| * time, by which a flow has left a saddle, if ever

  void check() const;
  Status look(const ConstVectorRef& w);
  bool blind(const ConstVectorRef& w) const;
  bool at_rest(const ConstVectorRef& w);
  bool rests_on_saddle(TangentSpace* full, const ConstVectorRef& w);
  bool out_of_reach(const ConstVectorRef& w);
  bool close(TangentSpace& tangent, const ConstVectorRef& w, double theta);
  Status arrive(Vector w);
  bool runs_away(const ConstVectorRef& w);
  bool still_falling(const ConstVectorRef& w);
  double size_of(const ConstVectorRef& w) const;
  double least_step(const ConstVectorRef& w) const;
  double noise_of_gradient(const ConstVectorRef& w, double digit, const std::function<void(Vector&)>& change);
  bool falls_along_kernel(TangentSpace& tangent, const ConstVectorRef& w, double largest);
  /// The full Hessian, for points where the residual is not zero; null if the problem does not offer it.
  TangentSpace* full_hessian();
  void newton(TangentSpace& tangent, Vector& w);
  TangentSpace& descend(Vector& w);
  void inspect(Landing& landing, const ConstVectorRef& w);
  void diagnose(Landing& landing, TangentSpace& tangent);

  std::shared_ptr<const Problem> problem_;
  LandingOptions options_;
  CurvatureKind kind_, full_kind_ = CurvatureKind::automatic;
  Stats stats_;
  std::unique_ptr<TangentSpace> tangent_, full_;
  std::unique_ptr<Linearization> lin_;
  Vector step_, probe_, noise_, dominant_;
  std::chrono::steady_clock::time_point began_;
  std::int64_t budget_ = 0;  // of iterations, in the look that is under way
  bool timed_ = true;        // max_time holds for what is under way
  double t_ = 0.0, next_look_ = 0.0;
  double steepest_ = 0.0;  // the largest gradient so far
  // At rest beside a saddle: the lowest eigenvalue, when it was looked at, and how far that would have led by now.
  double pull_ = 0.0, pulled_at_ = 0.0, efolds_ = 0.0;
  // For a flow that runs away: ||w|| at the begin of this decade of t, of the last, and the largest of those before.
  double previous_t_ = 0.0, previous_norm_ = 0.0, older_norm_ = 0.0, largest_ = 0.0;
};

}  // namespace grokflow
