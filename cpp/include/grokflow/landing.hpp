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

#include <memory>
#include <string>

#include "grokflow/tangent.hpp"

namespace grokflow {

/// An end of time that every flow which lands at all has reached long before.
constexpr double kForever = 1e18;

struct LandingOptions {
  double rtol = 1e-6;
  CurvatureKind curvature = CurvatureKind::automatic;
  TangentOptions tangent;
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

  /// Told of every step; `landed` once Newton's method can take over, else `running`. It looks at times that
  /// grow by half.
  Status step(double t, const ConstVectorRef& w);

  /// The end of a flow: Newton's method to round-off if it has landed, and what the Hessian says of the
  /// point.
  Landing settle(const ConstVectorRef& w, Status status);

  const Stats& stats() const { return stats_; }

 private:
  bool at_rest_on_saddle(TangentSpace* full, const ConstVectorRef& w) const;
  bool close(TangentSpace& tangent, const ConstVectorRef& w, double theta);
  /// The full Hessian, for points where the residual is not zero; null if the problem does not offer it.
  TangentSpace* full_hessian();
  void newton(TangentSpace& tangent, Vector& w);
  void diagnose(Landing& landing);

  std::shared_ptr<const Problem> problem_;
  LandingOptions options_;
  CurvatureKind kind_, full_kind_ = CurvatureKind::automatic;
  Stats stats_;
  std::unique_ptr<TangentSpace> tangent_, full_;
  Vector step_, probe_;
  double t_ = 0.0, next_look_ = 0.0, first_slope_ = -1.0;
  // For a flow that runs away: ||w|| when log t had last doubled, and the time before.
  double previous_t_ = 0.0, previous_norm_ = 0.0, older_norm_ = 0.0;
};

}  // namespace grokflow
