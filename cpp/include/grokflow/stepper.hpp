// One step of a method, tried, accepted or rejected.
//
// The contract for authors of a method (the integrator keeps its side of it):
//  1. `start` is called once, before anything else; it may evaluate the flow.
//  2. `attempt(h)` tries one step of size h from the current state and changes nothing that a further
//     attempt needs.
//  3. After each attempt exactly one of `accept` and `reject` is called; both return the step size to try
//     next.
//  4. `w` and `interpolate` see accepted states only.
//  5. An attempt fails by its `Outcome`, never by an exception; exceptions from the flow pass through
//     `attempt` and `accept`, which then have changed nothing: the step may be attempted again.
//  6. After the first few steps an attempt allocates no memory.
//  7. `state` lists what later steps depend on, so that a run can be taken up in another process
// (archive.hpp).
//
//   auto stepper = grokflow::make_radau(flow, {1e-8, 1e-11});
//   double h = stepper->start(w0, 0.0);
//   auto attempt = stepper->attempt(h);
//   h = attempt.success() ? stepper->accept() : stepper->reject();
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grokflow/archive.hpp"
#include "grokflow/flow.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// The error allowed in w_i is atol_i + rtol |w_i|, in the root mean square over i.
struct Tolerance {
  Tolerance(double rtol = 1e-6, double atol = 1e-9);
  Tolerance(double rtol, Vector atol);

  /// out_i = 1 / (atol_i + rtol max(|a_i|, |b_i|)), where all are entries from `begin` on of longer vectors
  void weights(const ConstVectorRef& a, const ConstVectorRef& b, VectorRef out, Index begin = 0) const;

  /// Throws std::invalid_argument unless atol has one entry or `size`.
  void require_size(Index size) const;

  double rtol;
  Vector atol;  ///< one entry, or one for each parameter
};

/// sqrt(mean (v_i weight_i)^2)
double rms_norm(const ConstVectorRef& v, const ConstVectorRef& weights);

/// Whether all entries are. In one fast pass, which no size of theirs overflows.
bool all_finite(const ConstVectorRef& v);

/// Time as the sum of steps, by Kahan's summation: steps of a few spacings of the numbers around t do not
/// make it drift.
class Clock {
 public:
  explicit Clock(double t) : t_(t) {}
  double t() const { return t_; }
  /// By how much t lags behind the sum.
  double lag() const { return lag_; }
  void advance(double h) {
    const double before = t_, step = h + lag_;
    t_ = before + step;
    lag_ = step - (t_ - before);
  }
  void state(Archive& archive) { archive(t_, lag_); }

 private:
  double t_, lag_ = 0.0;
};

struct Attempt {
  enum class Outcome { done, newton_failed, not_finite, off_manifold, mode_unresolved } outcome;
  double error;  ///< the estimated error over the allowed one, if done
  double cut =
      0.0;  ///< the size of a step that was cut short, at an event of the method's own; 0: it was not

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
  /// By how much, at most, the tolerance had to be loosened for the noise of the right-hand side.
  virtual double slack() const { return 1.0; }
  /// Why the last attempt that failed did so, and what to try: the rest of a sentence, or a whole one where it
  /// ended the run. Empty if there is no more to say than its outcome.
  virtual std::string trouble() const { return {}; }
  /// Writes or reads the state between two steps. Read into a stepper that has been started, with the same
  /// arguments.
  virtual void state(Archive& archive);
};

/// A method without memory of earlier steps: it may go on from any state, and the path of a step is known as
/// soon as it has been tried.
class OneStepMethod : public Stepper {
 public:
  /// The degree of the path, a polynomial in the fraction x of the step, is the number of these fractions in
  /// (0, 1], in which it is at its best. The last one is 1.
  virtual const std::vector<double>& nodes() const = 0;
  /// The path of the last attempt, if it was done, at the fraction x of its step; also a little beyond 1.
  virtual void preview(double x, VectorRef out) const = 0;
  /// The forces of the flow at these nodes, one column each, where the method knows them better than the flow
  /// does at the path; else no column.
  virtual const Matrix& forces() const;
  /// The last attempt, which was done, once more up to the fraction x of its step. To be accepted or rejected
  /// in its place.
  virtual Attempt cut(double x) = 0;
  /// Goes on from w, near the last accepted state and earlier by `back`, in a flow that may have changed there.
  virtual void restart(const ConstVectorRef& w, double back) = 0;
};

/// A first step by the rule of Hairer, Norsett & Wanner, Solving ODEs I, II.4: small against the scales of w,
/// f and f'. f0 = f(w0). One evaluation.
double initial_step(Flow& flow, const Tolerance& tolerance, int order, const ConstVectorRef& w0,
                    const ConstVectorRef& f0);

/// The tolerance is that of the path: steps keep a smaller one (bdf.cpp).
struct BdfOptions {
  Tolerance tolerance;
  int max_order = 5;  ///< 1 to 5
};

/// Variable-step, variable-order backward differentiation formulas (bdf.cpp). The flow must outlive the
/// stepper.
std::unique_ptr<Stepper> make_bdf(Flow& flow, BdfOptions options = {});

/// The three-stage Radau IIA method of order 5 (radau.cpp). The flow must outlive the stepper.
std::unique_ptr<OneStepMethod> make_radau(Flow& flow, Tolerance tolerance = {});

/// The explicit Runge-Kutta method of Tsitouras, of order 5 (explicit_rk.cpp), for flows that are not stiff.
/// The flow must outlive the stepper.
std::unique_ptr<OneStepMethod> make_tsit5(Flow& flow, Tolerance tolerance = {});

/// The stabilised explicit method ROCK2, of order 2 (rock2.cpp), for stiff flows whose f' has a real negative
/// spectrum and is not at hand. The flow must outlive the stepper.
std::unique_ptr<Stepper> make_rock2(Flow& flow, Tolerance tolerance = {});

}  // namespace grokflow
