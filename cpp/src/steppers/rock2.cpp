// ROCK2, a stabilised explicit method of order 2 (Abdulle & Medovikov, Numer. Math. 90, 2001).
//
// A step of s stages is stable for f' with eigenvalues in [-0.71 s^2 / h, 0]: s gradients reach as far as
// 0.35 s^2 steps of gradient descent. It solves no linear systems, and so serves problems that give nothing
// but a gradient. Let Q_j and sigma, tau be those of the stability polynomial of degree s
// (rock2_polynomial.hpp). The stages are
//
//   g_{j+1} = h mu_j f(g_j) + (1 + kappa_j) g_j - kappa_j g_{j-1},  g_0 = w_n,  0 <= j < s-2,
//   g_{s-1} = g_{s-2} + h sigma f(g_{s-2}),
//   w_{n+1} = g_{s-1} + h sigma f(g_{s-1}) - h sigma (1 - tau / sigma^2) (f(g_{s-1}) - f(g_{s-2})).
//
// The last term is the difference from a result of order 1 and the estimate of the error, so that the error
// of order 2 which the step really makes falls like the tolerance.
//
// The method keeps 10 vectors of the size of w, whatever s is.
#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "grokflow/stepper.hpp"
#include "steppers/growth.hpp"
#include "steppers/rock2_polynomial.hpp"

namespace grokflow {
namespace {

constexpr double kSafety = 0.8;
constexpr double kLeast = 0.1, kMost = 5.0;  // change of the step size
constexpr double kSlack = 1.05;              // a degree that is too large by less stays
constexpr double kLeastPace = 1e-4;          // e-folds of |f| in a step that count as growth
constexpr double kCaution = 4.0;             // by which steps are more accurate where errors grow
constexpr int kRadiusAge = 25;               // steps for which a spectral radius serves
constexpr double kRadiusSafety = 1.2;        // it may grow meanwhile, and the power method looks from below
constexpr double kRadiusAccuracy = 0.01;     // change in one iteration at which the power method ends
constexpr int kMinPowerIterations = 2, kMaxPowerIterations = 50;
constexpr double kSome = 0.1;      // share of a random direction in the first of the power method
constexpr double kSmallest = 1e6;  // of atol: the size of weights that is taken where they are smaller
constexpr double kCloser = -0.1;

class Rock2 final : public Stepper {
 public:
  Rock2(Flow& flow, Tolerance tolerance)
      : flow_(flow), tolerance_(std::move(tolerance)), most_degree_(most_degree(tolerance_.rtol)) {
    for (Vector* v : {&w_, &old_w_, &older_w_, &f_, &g_, &last_g_, &k_, &last_k_, &weights_, &direction_})
      v->setZero(flow.size());
  }

  double start(const ConstVectorRef& w0, double first_step) override {
    w_ = w0;
    set_stage(0.0);
    flow_.rhs(w_, f_);
    last_h_ = first_step > 0.0 ? first_step : initial_step(flow_, tolerance_, 2, w_, f_);
    old_w_ = w_ - last_h_ * f_;  // a fictitious state on the tangent
    return last_h_;
  }

  Attempt attempt(double h) override {
    using Outcome = Attempt::Outcome;
    h_ = h;
    if (radius_age_ >= kRadiusAge) estimate_radius();
    const int needed = Rock2Polynomial::degree_for(h * radius_);
    if (needed > most_degree_) {  // the spectral radius has grown
      error_ = h / longest_step();
      return {outcome_ = Outcome::done, error_};
    }
    if (needed > polynomial_.degree() || polynomial_.degree() > kSlack * needed) polynomial_.compute(needed);
    if (!take_stages(h)) return {outcome_ = Outcome::not_finite, 0.0};

    // The new state is in last_g_, the estimate of its error in g_.
    tolerance_.weights(w_, last_g_, weights_);
    if (growth_.pace() > kLeastPace) weights_ *= kCaution;
    error_ = rms_norm(g_, weights_);
    outcome_ = std::isfinite(error_) ? Outcome::done : Outcome::not_finite;
    if (error_ <= 1.0) {
      set_stage(1.0);
      flow_.rhs(last_g_, k_);
    }
    return {outcome_, error_};
  }

  double accept() override {
    older_w_.swap(old_w_);
    old_w_.swap(w_);
    w_.swap(last_g_);
    f_.swap(k_);
    // The controller of Watts: the errors of two steps foretell that of the next.
    const double error = std::max(error_, 1e-10);
    double factor = kSafety / std::sqrt(error);
    if (last_error_ > 0.0)
      factor = std::min(factor, factor * (h_ / last_h_) * std::sqrt(last_error_ / error));
    factor = std::clamp(factor, kLeast, rejected_ ? 1.0 : kMost);
    rejected_ = false;
    ++radius_age_;
    growth_.step((w_ - old_w_).stableNorm() / h_);  // f itself is full of stiff modes
    older_h_ = last_h_;
    clock_.advance(h_);
    last_h_ = h_;
    last_error_ = error;
    return std::min(h_ * factor, longest_step());
  }

  double reject() override {
    rejected_ = true;
    if (outcome_ != Attempt::Outcome::done) {
      radius_age_ = kRadiusAge;
      return 0.25 * h_;
    }
    if (radius_age_ > 0) {
      // The step may have been unstable: the error then points in the stiffest direction.
      radius_age_ = kRadiusAge;
      direction_ += g_ / std::max(g_.stableNorm(), std::numeric_limits<double>::min());
    }
    return std::min(h_ * std::max(kLeast, kSafety / std::sqrt(error_)), longest_step());
  }

  const ConstVectorRef w() const override { return w_; }

  /// The parabola through the last three states. Slopes would do more harm than good: in stiff modes they
  /// are the error of the state, a thousand times over.
  void interpolate(double back, VectorRef out) const override {
    if (back == 0.0) {
      out = w_;
      return;
    }
    const double to_old = last_h_ - back, to_older = to_old + older_h_, both = last_h_ + older_h_;
    out = (to_old * to_older / (last_h_ * both)) * w_ + (back * to_older / (last_h_ * older_h_)) * old_w_ -
          (back * to_old / (both * older_h_)) * older_w_;
  }

  int order() const override { return 2; }

  void state(Archive& archive) override {
    int degree = polynomial_.degree();
    archive(clock_, w_, f_, old_w_, older_w_, direction_, radius_, radius_age_, growth_, h_, last_h_,
            older_h_, error_, last_error_, rejected_, outcome_, degree);
    if (archive.reading() && degree != polynomial_.degree()) polynomial_.compute(degree);
  }

 private:
  /// Evaluations to come are at the fraction x of the step.
  void set_stage(double x) { flow_.set_time(clock_.t() + x * h_); }

  /// Round-off grows like s^2 inside a step.
  static int most_degree(double rtol) {
    const double most = std::sqrt(rtol / (10.0 * std::numeric_limits<double>::epsilon()));
    return static_cast<int>(
        std::clamp<double>(most, Rock2Polynomial::kLeastDegree, Rock2Polynomial::kMostDegree));
  }

  double longest_step() const {
    const double reach = Rock2Polynomial::reach(most_degree_);
    return radius_ > 0.0 ? (1.0 - 1e-12) * reach / radius_ : std::numeric_limits<double>::infinity();
  }

  /// From w_ and f_ to the new state in last_g_ and its error in g_. False if it left the finite numbers.
  bool take_stages(double h) {
    const int s = polynomial_.degree();
    last_g_ = w_;
    g_ = w_ + (h * polynomial_.mu(0)) * f_;
    double c = polynomial_.mu(0), last_c = 0.0;  // the stages, in the step
    for (int j = 1; j + 2 < s; ++j) {
      if (!all_finite(g_)) return false;
      set_stage(c);
      flow_.rhs(g_, k_);
      const double kappa = polynomial_.kappa(j);
      last_c = polynomial_.mu(j) + (1.0 + kappa) * c - kappa * last_c;
      std::swap(c, last_c);
      last_g_ = (h * polynomial_.mu(j)) * k_ + (1.0 + kappa) * g_ - kappa * last_g_;
      g_.swap(last_g_);
    }
    if (!all_finite(g_)) return false;
    const double sigma = h * polynomial_.sigma();
    const double twist = sigma * (1.0 - polynomial_.tau() / (polynomial_.sigma() * polynomial_.sigma()));
    set_stage(c);
    flow_.rhs(g_, last_k_);
    g_ += sigma * last_k_;
    set_stage(c + polynomial_.sigma());
    flow_.rhs(g_, k_);
    last_g_ = g_ + sigma * k_;
    g_ = twist * (last_k_ - k_);
    last_g_ += g_;
    return all_finite(last_g_);
  }

  /// The power method on f', by differences of f from w_. Where f is not finite beside w_ it looks on the
  /// other side, and closer.
  void estimate_radius() {
    const double scale = std::max(w_.stableNorm(), kSmallest * tolerance_.atol.maxCoeff());
    double size = std::sqrt(std::numeric_limits<double>::epsilon()) * scale;
    choose_direction();
    set_stage(0.0);
    double radius = radius_ / kRadiusSafety;
    for (int i = 0; i < kMaxPowerIterations; ++i) {
      g_ = w_ + size * direction_;
      flow_.rhs(g_, k_);
      k_ -= f_;
      if (!all_finite(k_)) {
        size *= kCloser;
        continue;
      }
      const double last = radius;
      radius = k_.stableNorm() / std::abs(size);
      if (!(radius > 0.0)) break;
      direction_.swap(k_);
      direction_.stableNormalize();
      if (i >= kMinPowerIterations && std::abs(radius - last) <= kRadiusAccuracy * radius) break;
    }
    radius_ = kRadiusSafety * radius;
    radius_age_ = 0;
  }

  /// The last direction, the field, and a little of everything: a mode that has become stiff meanwhile may be
  /// orthogonal to what was the stiffest.
  void choose_direction() {
    direction_.stableNormalize();
    const double slope = f_.stableNorm();
    if (slope > 0.0) direction_ += f_ / slope;
    const double some = kSome / std::sqrt(static_cast<double>(direction_.size()));
    std::minstd_rand random(1);
    for (double& entry : direction_) entry += some * (random() % 2 == 0 ? 1.0 : -1.0);
    direction_.stableNormalize();
  }

  Flow& flow_;
  Tolerance tolerance_;
  Clock clock_{0.0};
  int most_degree_;
  Rock2Polynomial polynomial_{Rock2Polynomial::kLeastDegree};
  Vector w_, f_, old_w_, older_w_;  // both ends of the last accepted step
  Vector g_, last_g_, k_, last_k_;  // stages and their slopes
  Vector weights_, direction_;      // direction_: along which f' is largest
  double radius_ = 0.0;             // of the spectrum of f', on the safe side
  int radius_age_ = kRadiusAge;     // accepted steps since
  Growth growth_;
  double h_ = 0.0, last_h_ = 0.0, older_h_ = 0.0, error_ = 0.0, last_error_ = 0.0;
  bool rejected_ = false;
  Attempt::Outcome outcome_ = Attempt::Outcome::done;
};

}  // namespace

std::unique_ptr<Stepper> make_rock2(Flow& flow, Tolerance tolerance) {
  tolerance.require_size(flow.size());
  return std::make_unique<Rock2>(flow, std::move(tolerance));
}

}  // namespace grokflow
