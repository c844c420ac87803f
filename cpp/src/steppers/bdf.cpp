// Backward differentiation formulas of order 1 to 5 with fully variable coefficients.
//
// Let P be the polynomial of degree k through the k+1 latest states, w_p and w_p' its value and slope at
// t_{n+1}. The formula asks for the polynomial of degree k through w_{n+1} and the k latest states to have
// slope f(w_{n+1}). The two differ by a multiple of prod (t - t_{n-i}), so that with e = w_{n+1} - w_p
//
//   e = gamma (f(w_p + e) - w_p'),      1/gamma = sum_{i=0}^{k-1} 1/(t_{n+1} - t_{n-i}),
//
// which Newton's method solves with the matrix I - gamma f'. The local error is
// e gamma / (t_{n+1} - t_{n-k}), and that of another order q follows from the divided difference of order q+1
// (Brayton, Gustavson & Hachtel 1972; Hairer, Norsett & Wanner, III.5). Coefficients that follow every change
// of the step keep high orders stable while steps grow; their price, a new gamma at each change, is small
// where a change of shift costs little.
//
// Part of the next order, theta in [0, 1], makes
//
//   1/gamma = sum_{i=0}^{k-1} 1/(t_{n+1} - t_{n-i}) + theta / (t_{n+1} - t_{n-k}),
//
// and takes that part off the error; theta = 1 is order k+1. Shampine & Reichelt (SIAM J. Sci. Comput. 18, 1997)
// leave order 5 as it is, whose angle of stability would shrink. Real eigenvalues ask for no angle: for them
// order 5 is as stable with any theta. Loose tolerances, whose steps change most, gain nothing.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "grokflow/stepper.hpp"
#include "steppers/frozen_flow.hpp"
#include "steppers/growth.hpp"
#include "steppers/history.hpp"
#include "steppers/newton.hpp"
#include "steppers/noise.hpp"

namespace grokflow {
namespace {

constexpr double kBias = 3.0;           // estimated errors are taken this much larger when a step is chosen
constexpr double kGrowth = 10.0;        // the largest growth of a step
constexpr double kFirstGrowth = 1e4;    // that of the first, whose size was a guess
constexpr double kKeep = 1.1;           // a step that could grow by less stays
constexpr double kNewtonTarget = 0.03;  // share of the allowed local error that Newton's method may leave
constexpr double kSharpen = 0.3;      // contraction of a fresh matrix beyond which a better one is asked for
constexpr double kCheapMatrix = 2.5;  // right-hand sides: a matrix for less serves one step only
constexpr double kQuiet = 0.01;       // share of the allowed local error that noise may take
constexpr double kStepShare = 0.2;    // tolerance of a step over that of the path, at rtol >= kLoose;
constexpr double kLoose = 1e-3;
constexpr double kBlend = 0.65;  // theta of order 5 where f' is symmetric, at rtol <= kSmooth
constexpr double kSmooth = 1e-5;
constexpr double kFinest = 1e-13;    // the smallest tolerance of a step
constexpr double kLeastPace = 0.01;  // e-folds of |f| in a step that count as growth
constexpr double kEfold = 2.0;       // steps in an e-fold beyond which the error of each has to be smaller
constexpr double kMostCaution = 100.0;
constexpr int kShortLived = 16;  // matrices renewed early after one has failed

/// The tolerance of a step over that of the path. Steps of order k whose errors are tol leave an error of about
/// tol^(k/(k+1)) on the path, at the orders and constants that occur tol^0.8; fitted on benchmarks/tolerance.py.
double share_of_step(double rtol) {
  const double share = kStepShare * std::min(1.0, std::pow(rtol / kLoose, 0.25));
  return std::max(share, std::min(1.0, kFinest / rtol));
}

class Bdf final : public Stepper {
 public:
  Bdf(Flow& flow, BdfOptions options)
      : flow_(flow),
        options_(std::move(options)),
        blend_(flow.is_symmetric() && options_.tolerance.rtol <= kSmooth ? kBlend : 0.0),
        history_(flow.size()),
        gate_(kQuiet, share_ * options_.tolerance.rtol) {
    for (Vector* v : {&predicted_, &slope_, &e_, &w_, &step_, &weights_}) v->resize(flow.size());
    options_.tolerance.rtol *= share_;
    options_.tolerance.atol *= share_;
  }

  double start(const ConstVectorRef& w0, double first_step) override {
    flow_.set_time(clock_.t());
    flow_.rhs(w0, slope_);
    h_ = first_step > 0.0 ? first_step : initial_step(flow_, options_.tolerance, 1, w0, slope_);
    history_.reset(w0, slope_, h_);
    order_ = 1;
    equal_steps_ = 0;
    return h_;
  }

  Attempt attempt(double h) override {
    h_ = h;
    flow_.set_time(clock_.t() + h);
    if (gate_.suspects()) measure_noise();
    predict();
    gamma_ = gamma(order_, 0, h);
    // The first predictor is the tangent at w0, of which e is twice the local error at every h.
    error_constant_ =
        history_.count() == 1 ? 0.5 : (1.0 - theta(order_)) * gamma_ / history_.distance(order_, h);

    outcome_ = solve_newton();
    error_ = outcome_ == Attempt::Outcome::done ? error_constant_ * e_size_ : 0.0;
    return {outcome_, error_};
  }

  double accept() override {
    failures_ = 0;
    gate_.accept();
    growth_.step(steepness_);
    ++age_;
    last_order_ = order_;
    history_.push(w_, h_);
    clock_.advance(h_);
    ++equal_steps_;
    return equal_steps_ > order_ ? choose_next() : h_;
  }

  double reject() override {
    ++failures_;
    gate_.reject();
    equal_steps_ = 0;
    if (outcome_ != Attempt::Outcome::done) return 0.25 * h_;
    // Modes that an aged Jacobian leaves to the predictor hide in the norm of a correction until they fail
    // the error test.
    stale_ = !flow_.is_linear();
    const double factor = step_factor(error_, order_);
    if (failures_ > 2 && order_ > 1) --order_;
    return h_ * std::clamp(factor, 0.1, 0.9);
  }

  const ConstVectorRef w() const override { return history_.newest(); }

  void interpolate(double back, VectorRef out) const override {
    if (back == 0.0) {
      out = history_.newest();
      return;
    }
    history_.interpolate(last_order_ + 1, -back, out);
  }

  int order() const override { return last_order_; }
  double slack() const override { return std::max(1.0, share_ * gate_.most()); }
  std::string trouble() const override { return monitor_.trouble(); }

  void state(Archive& archive) override {
    archive(clock_, history_, monitor_, gate_, step_, weights_, error_constant_, steepness_, growth_, stale_,
            age_, lifetime_, short_lived_, h_, error_, outcome_, equal_steps_, failures_);
    archive.bounded(order_, 1, options_.max_order);
    archive.bounded(last_order_, 0, options_.max_order);
    lin_.state(archive, solver_);
  }

 private:
  /// The predictor, its slope, how steep that is, and the weights of errors.
  void predict() {
    const double scale = caution();
    const double squares =
        history_.extrapolate(order_ + 1, h_, predicted_, slope_, [&](Index begin, Index count) {
          auto weights = weights_.segment(begin, count);
          options_.tolerance.weights(history_.newest().segment(begin, count),
                                     predicted_.segment(begin, count), weights, begin);
          weights *= scale;
          gate_.loosen(weights, begin);
          return slope_.segment(begin, count).squaredNorm();
        });
    // Where the square of a number is none, another pass.
    steepness_ = std::isnormal(squares) ? std::sqrt(squares) : slope_.stableNorm();
  }

  /// By how much steps have to be more accurate where errors grow and add up.
  double caution() const {
    if (growth_.pace() < kLeastPace) return 1.0;
    const double most = std::min(kMostCaution, options_.tolerance.rtol / kFinest);
    return std::max(1.0, std::min(kEfold / growth_.pace(), most));
  }

  /// The part of order q + 1 in order q
  double theta(int q) const { return q == 5 ? blend_ : 0.0; }

  /// gamma of order q for a state at `ahead` of the newest in the history, from state `first` of it on
  double gamma(int q, int first, double ahead) const {
    double sum = theta(q) / history_.distance(first + q, ahead);
    for (int i = 0; i < q; ++i) sum += 1.0 / history_.distance(first + i, ahead);
    return 1.0 / sum;
  }

  Attempt::Outcome solve_newton() {
    using Outcome = Attempt::Outcome;
    bool fresh = !lin_ || stale_ || outlived();
    if (fresh) relinearize();
    while (true) {
      Outcome outcome = Outcome::newton_failed;
      const bool factored = lin_.factor(gamma_, solver_);
      if (factored) outcome = iterate(fresh);
      if (outcome == Outcome::done) {
        if (monitor_.wants_new_matrix()) {
          if (!fresh)
            stale_ = !flow_.is_linear();
          else if (monitor_.rate() > kSharpen)
            lin_->sharpen();
        }
        return outcome;
      }
      if (outcome == Outcome::not_finite) return outcome;
      if (!fresh) {
        if (age_ > 0) lifetime_ = age_, short_lived_ = kShortLived;
        relinearize();
        fresh = true;
      } else if (!lin_->sharpen()) {
        if (factored && monitor_.at_noise(false)) {
          gate_.reject();
          return Outcome::done;
        }
        monitor_.fail(factored);
        return outcome;
      }
    }
  }

  /// Whether the matrix has served long enough: a new one saves more iterations than it costs, or matrices
  /// have failed of late at this age, which takes two iterations to find out.
  bool outlived() {
    if (flow_.is_linear() || age_ == 0) return false;
    if (lin_->renewal_cost() <= kCheapMatrix) return true;
    if (short_lived_ == 0 || age_ < lifetime_) return false;
    --short_lived_;
    return true;
  }

  void relinearize() {
    stale_ = true;  // until it has succeeded
    lin_.linearize(predicted_);
    stale_ = false;
    age_ = 0;
  }

  ContractionMonitor::Trust trust(bool fresh) const {
    if (!solver_->exact()) return ContractionMonitor::Trust::none;
    if (flow_.is_linear()) return ContractionMonitor::Trust::exact;
    return fresh && failures_ == 0 ? ContractionMonitor::Trust::earlier : ContractionMonitor::Trust::none;
  }

  Attempt::Outcome iterate(bool fresh) {
    using Verdict = ContractionMonitor::Verdict;
    using Outcome = Attempt::Outcome;
    monitor_.begin(trust(fresh));
    while (true) {
      const bool first = monitor_.iterations() == 0;
      if (!(first && fresh && correct_at_once())) {
        flow_.rhs(first ? predicted_ : w_, step_);
        if (first)
          step_ = gamma_ * (step_ - slope_);
        else
          step_ = gamma_ * (step_ - slope_) - e_;
        if (!all_finite(step_)) return Outcome::not_finite;
        if (!solver_->solve(step_)) return Outcome::newton_failed;
      }
      const double size = correct(first);
      switch (monitor_.judge(error_constant_ * size, kNewtonTarget)) {
        case Verdict::converged:
          return Outcome::done;
        case Verdict::diverged:
          return Outcome::newton_failed;
        case Verdict::more:
          break;
      }
    }
  }

  /// Takes the correction. Returns its size.
  double correct(bool first) {
    const double squares = pass_.sum(8.0, [&](Index begin, Index count) {
      const auto step = step_.segment(begin, count);
      auto e = e_.segment(begin, count);
      if (first)
        e = step;
      else
        e += step;
      w_.segment(begin, count) = predicted_.segment(begin, count) + e;
      return step.cwiseProduct(weights_.segment(begin, count)).squaredNorm();
    });
    const double size = std::sqrt(squares / static_cast<double>(flow_.size()));
    e_size_ = first ? size : rms_norm(e_, weights_);
    return size;
  }

  /// The first correction with a matrix of this very point, where that needs no right-hand side.
  bool correct_at_once() {
    step_ = -gamma_ * slope_;
    return solver_->solve_with_field(predicted_, step_);
  }

  /// Along the last correction.
  void measure_noise() {
    e_ = step_;
    if (!gate_.find(flow_, history_.newest(), e_, weights_, step_, slope_)) return;
    step_ *= gamma_;
    if (solver_ && solver_->solve(step_)) gate_.measured(step_, error_constant_, weights_);
  }

  /// The local error that order q would have made in the step just accepted.
  double error_of_order(int q) const {
    const double unit = history_.unit();
    double product = (1.0 - theta(q)) * gamma(q, 1, 0.0) / unit;
    for (int i = 1; i <= q; ++i) product *= history_.distance(i, 0.0) / unit;
    return product * history_.divided_difference(q + 2, weights_);
  }

  static double step_factor(double error, int q) {
    return std::pow(kBias * std::max(error, 1e-12), -1.0 / (q + 1));
  }

  /// After k+1 equal steps at order k the estimates can be trusted: takes the order with the largest step, if
  /// that is worth a change.
  double choose_next() {
    double best = step_factor(error_, order_);
    int best_order = order_;
    const auto consider = [&](int q) {
      const double factor = step_factor(error_of_order(q), q);
      if (factor > best) best = factor, best_order = q;
    };
    if (order_ > 1) consider(order_ - 1);
    if (order_ < options_.max_order && history_.count() >= order_ + 3) consider(order_ + 1);
    if (best < kKeep) return h_;
    order_ = best_order;
    equal_steps_ = 0;
    return h_ * std::min(best, history_.count() < 4 ? kFirstGrowth : kGrowth);
  }

  Flow& flow_;
  BdfOptions options_;
  double share_ = share_of_step(options_.tolerance.rtol);  // of a step in the tolerance of the path
  double blend_;                                           // theta of order 5
  Clock clock_{0.0};
  History history_;
  FrozenFlow lin_{flow_};
  Factored<double> solver_;
  ContractionMonitor monitor_{{4, 0.05}};
  NoiseGate gate_;
  bool stale_ = false;
  int age_ = 0;          // steps taken with the matrix
  int lifetime_ = 0;     // after which the last that failed had become useless
  int short_lived_ = 0;  // matrices still to be renewed at that age

  Vector predicted_, slope_, e_, w_, step_, weights_;
  Stretches pass_{flow_.size()};
  double e_size_ = 0.0;  // rms_norm
  double h_ = 0.0, error_ = 0.0;
  double gamma_ = 0.0, error_constant_ = 0.0;  // of the last attempt
  Attempt::Outcome outcome_ = Attempt::Outcome::done;
  double steepness_ = 0.0;  // |f|
  Growth growth_;
  int order_ = 1, last_order_ = 1;
  int equal_steps_ = 0;  // since the step or the order changed
  int failures_ = 0;
};

}  // namespace

std::unique_ptr<Stepper> make_bdf(Flow& flow, BdfOptions options) {
  options.tolerance.require_size(flow.size());
  if (options.max_order < 1 || options.max_order > 5)
    throw std::invalid_argument("max_order is " + std::to_string(options.max_order) + "; it must be 1 to 5");
  return std::make_unique<Bdf>(flow, std::move(options));
}

}  // namespace grokflow
