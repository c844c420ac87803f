// Steps of a linear flow, dw/dt = f(w), along its exact path
//
//   w(t + s) = w(t) + phi(s) f(w(t)),      phi(s) = (exp(s f') - 1) f'^-1:
//
// the exponential Rosenbrock-Euler method (Hochbruck & Ostermann, Acta Numerica 2010), which makes no error here but
// that of round-off in f, up to the length of the step. Steps that double the time keep it as small as w is, and serve
// those who watch: that is how the scale grows on which the path changes.
#include "steppers/exponential.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "curvature/propagator.hpp"

namespace grokflow {
namespace {

constexpr double kRoundOff = std::numeric_limits<double>::epsilon();
constexpr double kPace = 1.0;  // size of a step over the time that has passed

/// Where steps with an error are cheaper: the decomposition costs as much as 27 of the factorisations of BDF, which
/// takes at most 16 in short flows at loose tolerances, and the difference is felt in large systems.
constexpr Index kLarge = 300;    // modes
constexpr double kLoose = 1e-6;  // rtol
constexpr double kShort = 1.0;   // fastest rate times time

class Exponential final : public Stepper {
 public:
  Exponential(GradientFlow& flow, const Tolerance& tolerance, std::unique_ptr<Propagator> propagator)
      : flow_(flow), tolerance_(tolerance), propagator_(std::move(propagator)) {
    for (Point* point : {&before_, &now_, &next_}) {
      point->w.resize(flow.size());
      point->f.resize(flow.size());
      point->modes.resize(propagator_->num_modes());
    }
    weights_.resize(flow.size());
  }

  double start(const ConstVectorRef& w0, double first_step) override {
    now_.w = w0;
    evaluate(now_);
    loss_ = flow_.problem().loss(w0);
    return first_step > 0.0 ? first_step : initial_step(flow_, tolerance_, 1, now_.w, now_.f);
  }

  Attempt attempt(double h) override {
    h_ = h;
    reach(now_, h, next_.w);
    evaluate(next_);
    if (!all_finite(next_.f)) return {Attempt::Outcome::not_finite, 0.0};
    tolerance_.weights(now_.w, next_.w, weights_);
    return {Attempt::Outcome::done, kRoundOff * h * rms_norm(now_.f, weights_)};
  }

  double accept() override {
    std::swap(before_, now_);
    std::swap(now_, next_);
    last_h_ = h_;
    if (noise(loss_) > 1.0) slack_ = std::max(slack_, noise(flow_.problem().loss(now_.w)));
    clock_.advance(h_);
    return std::max(h_, kPace * clock_.t());
  }

  double reject() override { return 0.25 * h_; }

  const ConstVectorRef w() const override { return now_.w; }

  void interpolate(double back, VectorRef out) const override {
    if (back == 0.0)
      out = now_.w;
    else
      reach(before_, last_h_ - back, out);
  }

  int order() const override { return 2; }
  double slack() const override { return slack_; }

  void state(Archive& archive) override { archive(clock_, before_, now_, h_, last_h_, slack_); }

 private:
  struct Point {
    Vector w, f, modes;

    void state(Archive& archive) { archive(w, f, modes); }
  };

  void evaluate(Point& at) const {
    flow_.rhs(at.w, at.f);
    propagator_->resolve(at.f, at.modes);
  }

  void reach(const Point& from, double s, VectorRef out) const {
    propagator_->reach(s, from.w, from.f, from.modes, out);
  }

  /// What the last step owes to the noise of a gradient at this loss, over what is allowed.
  double noise(double loss) const {
    const double entries = std::sqrt(static_cast<double>(flow_.size() / tolerance_.atol.size()));
    return propagator_->noise(h_, loss) /
           (tolerance_.rtol * now_.w.stableNorm() + entries * tolerance_.atol.norm());
  }

  GradientFlow& flow_;
  Tolerance tolerance_;
  std::unique_ptr<Propagator> propagator_;
  Clock clock_{0.0};
  Vector weights_;
  Point before_, now_, next_;  // the ends of the last step, and of the one that is tried
  double h_ = 0.0, last_h_ = 0.0;
  double loss_ = 0.0;  // at the start, and so the largest
  double slack_ = 1.0;
};

}  // namespace

std::unique_ptr<Stepper> make_exponential(GradientFlow& flow, const Tolerance& tolerance, double span,
                                          bool if_cheapest) {
  if (!Propagator::serves(flow)) return nullptr;
  auto propagator = std::make_unique<Propagator>(flow);
  if (if_cheapest && propagator->num_modes() >= kLarge && tolerance.rtol >= kLoose &&
      propagator->fastest_rate() * span <= kShort)
    return nullptr;
  propagator->decompose();
  if (propagator->error(span) > tolerance.rtol) return nullptr;
  return std::make_unique<Exponential>(flow, tolerance, std::move(propagator));
}

}  // namespace grokflow
