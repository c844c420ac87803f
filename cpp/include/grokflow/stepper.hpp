// One step of a method, tried, accepted or rejected.
//
// The contract for authors of a method (the integrator keeps its side of it):
//  1. `start` is called once, before anything else; it may evaluate the flow.
//  2. `attempt(h)` tries one step of size h from the current state and changes nothing that a further attempt
//  needs.
//  3. After each attempt exactly one of `accept` and `reject` is called; both return the step size to try
//  next.
//  4. `w` and `interpolate` see accepted states only.
//  5. An attempt fails by its `Outcome`, never by an exception; exceptions from the flow pass through
//  `attempt` and `accept`, which then have changed nothing: the step may be attempted again.
//  6. After the first few steps an attempt allocates no memory.
//
//   auto stepper = grokflow::make_radau(flow, {1e-8, 1e-11});
//   double h = stepper->start(w0, 0.0);
//   auto attempt = stepper->attempt(h);
//   h = attempt.success() ? stepper->accept() : stepper->reject();
#pragma once

#include <memory>

#include "grokflow/flow.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// The error allowed in w_i is atol_i + rtol |w_i|, in the root mean square over i.
struct Tolerance {
  Tolerance(double rtol = 1e-6, double atol = 1e-9);
  Tolerance(double rtol, Vector atol);

  /// out_i = 1 / (atol_i + rtol max(|a_i|, |b_i|))
  void weights(const ConstVectorRef& a, const ConstVectorRef& b, VectorRef out) const;

  /// Throws std::invalid_argument unless atol has one entry or `size`.
  void require_size(Index size) const;

  double rtol;
  Vector atol;  ///< one entry, or one for each parameter
};

/// sqrt(mean (v_i weight_i)^2)
double rms_norm(const ConstVectorRef& v, const ConstVectorRef& weights);

struct Attempt {
  enum class Outcome { done, newton_failed, not_finite, off_manifold } outcome;
  double error;  ///< the estimated error over the allowed one, if done

  bool success() const { return outcome == Outcome::done && error <= 1.0; }
};

class Stepper {
 public:
  virtual ~Stepper() = default;

  /// Begins at w0 and returns the first step size to try: `first_step` if positive, else one estimated from
  /// the flow.
  virtual double start(const ConstVectorRef& w0, double first_step) = 0;
  virtual Attempt attempt(double h) = 0;
  virtual double accept() = 0;
  virtual double reject() = 0;

  /// The state at the end of the last accepted step.
  virtual const ConstVectorRef w() const = 0;
  /// The state `back` before that end, 0 <= back <= h of the last accepted step.
  virtual void interpolate(double back, VectorRef out) const = 0;
  /// The order in use.
  virtual int order() const = 0;
};

/// A first step by the rule of Hairer, Norsett & Wanner, Solving ODEs I, II.4: small against the scales of w,
/// f and f'. f0 = f(w0). One evaluation.
double initial_step(Flow& flow, const Tolerance& tolerance, int order, const ConstVectorRef& w0,
                    const ConstVectorRef& f0);

struct BdfOptions {
  Tolerance tolerance;
  int max_order = 5;  ///< 1 to 5
};

/// Variable-step, variable-order backward differentiation formulas (bdf.cpp). The flow must outlive the
/// stepper.
std::unique_ptr<Stepper> make_bdf(Flow& flow, BdfOptions options = {});

/// The three-stage Radau IIA method of order 5 (radau.cpp). The flow must outlive the stepper.
std::unique_ptr<Stepper> make_radau(Flow& flow, Tolerance tolerance = {});

/// The explicit Runge-Kutta method of Tsitouras, of order 5 (explicit_rk.cpp), for flows that are not stiff.
/// The flow must outlive the stepper.
std::unique_ptr<Stepper> make_tsit5(Flow& flow, Tolerance tolerance = {});

/// The stabilised explicit method ROCK2, of order 2 (rock2.cpp), for stiff flows whose f' has a real negative
/// spectrum and is not at hand. The flow must outlive the stepper.
std::unique_ptr<Stepper> make_rock2(Flow& flow, Tolerance tolerance = {});

}  // namespace grokflow
