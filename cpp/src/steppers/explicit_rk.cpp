// Explicit Runge-Kutta methods with an embedded error estimate and dense output.
//
// The flow may live on a manifold: a new state is taken back to it (`Flow::retract`) before its field is
// evaluated, its error is judged, and it is accepted.
#include <algorithm>
#include <cmath>
#include <utility>

#include "grokflow/stepper.hpp"
#include "steppers/stretches.hpp"
#include "steppers/tableau.hpp"

namespace grokflow {
namespace {

/// The estimate belongs to a result of one order less; the step itself was measured to be 20 to 100 times
/// more accurate than estimated, on drifts of all models at rtol from 1e-5 to 1e-8.
constexpr double kTrust = 0.2;
/// Fastest rate times step from which on it is not: where stability ends, at 3.5, errors are 1.5 times the
/// estimate, and a state at rest swings as widely as it is let.
constexpr double kStiff = 3.0;
constexpr double kSafety = 0.9;
constexpr double kLeast = 0.2, kMost = 5.0;  // change of the step size

class ExplicitRungeKutta final : public OneStepMethod {
 public:
  ExplicitRungeKutta(Flow& flow, const Tableau& tableau, Tolerance tolerance)
      : flow_(flow),
        tableau_(tableau),
        tolerance_(std::move(tolerance)),
        last_(tableau.A.rows() - 1),
        c_(tableau.A.rowwise().sum()),
        w_(flow.size()),
        old_w_(flow.size()),
        new_w_(flow.size()),
        new_k_(flow.size()),
        k_(flow.size(), tableau.A.rows()),
        bends_(flow.size(), tableau.D.cols()),
        pass_(flow.size()) {}

  double start(const ConstVectorRef& w0, double first_step) override {
    w_ = w0;
    set_stage(0);
    if (first_step > 0.0) {
      flow_.rhs(w_, k_.col(0));
      return first_step;
    }
    // The estimate looks beside w0; the field at w0 comes last, so that the flow stands there.
    flow_.rhs(w_, k_.col(0));
    const double h = initial_step(flow_, tolerance_, tableau_.order, w_, k_.col(0));
    set_stage(0);
    flow_.rhs(w_, k_.col(0));
    return h;
  }

  Attempt attempt(double h) override {
    using Outcome = Attempt::Outcome;
    h_ = h;
    for (Index i = 1; i <= last_; ++i) {
      new_w_ = w_;
      for (Index j = 0; j < i; ++j)
        if (tableau_.A(i, j) != 0.0) new_w_ += (h * tableau_.A(i, j)) * k_.col(j);
      if (!all_finite(new_w_)) return {outcome_ = Outcome::not_finite, 0.0};
      if (i == last_ && !flow_.retract(new_w_)) return {outcome_ = Outcome::off_manifold, 0.0};
      set_stage(i);
      flow_.rhs(new_w_, k_.col(i));
    }
    error_ = (stiff() ? 1.0 : kTrust) * h * estimate();
    outcome_ = std::isfinite(error_) ? Outcome::done : Outcome::not_finite;
    return {outcome_, error_};
  }

  double accept() override {
    old_w_.swap(w_);
    w_.swap(new_w_);
    keep_path();
    k_.col(0) = k_.col(last_);
    clock_.advance(h_);
    last_h_ = h_;
    // The controller of Gustafsson, which damps the oscillations of the step at the limit of stability.
    const double error = std::max(error_, 1e-10), p = tableau_.order;
    double factor = kSafety * std::pow(error, -0.85 / p) * std::pow(last_error_, 0.2 / p);
    if (rejected_) factor = std::min(factor, 1.0);
    last_error_ = std::max(error, 1e-4);
    rejected_ = false;
    return h_ * std::clamp(factor, kLeast, kMost);
  }

  double reject() override {
    rejected_ = true;
    if (outcome_ != Attempt::Outcome::done) return 0.25 * h_;
    return h_ * std::max(kLeast, kSafety * std::pow(error_, -1.0 / tableau_.order));
  }

  const ConstVectorRef w() const override { return w_; }

  void interpolate(double back, VectorRef out) const override {
    if (last_h_ == 0.0 || back == 0.0) {
      out = w_;
      return;
    }
    path(old_w_, bends_, last_h_ * powers(1.0 - back / last_h_), out);
  }

  const std::vector<double>& nodes() const override {
    static const std::vector<double> nodes = {0.25, 0.5, 0.75, 1.0};  // of the quartic in x
    return nodes;
  }

  void preview(double x, VectorRef out) const override {
    path(w_, k_, h_ * tableau_.D.lazyProduct(powers(x)), out);
  }

  Attempt cut(double x) override { return attempt(x * h_); }

  void restart(const ConstVectorRef& w, double back) override {
    flow_.set_time(clock_.t() - back);
    flow_.rhs(w, new_k_);
    clock_.advance(-back);
    w_ = w;
    k_.col(0) = new_k_;
    last_error_ = 1e-4;
    rejected_ = false;
  }

  int order() const override { return tableau_.order; }

  void state(Archive& archive) override {
    archive(clock_, w_, old_w_, k_, bends_, h_, last_h_, error_, last_error_, rejected_, outcome_);
  }

 private:
  /// Evaluations to come are at stage i of the step.
  void set_stage(Index i) { flow_.set_time(clock_.t() + c_[i] * h_); }

  /// Whether stability limits the step: the last two stages are at one time, and their fields differ by about
  /// the fastest rate times their distance (Hairer & Wanner, Solving Ordinary Differential Equations II, IV.2).
  bool stiff() {
    new_k_.setZero();
    for (Index j = 0; j < last_; ++j) new_k_ += (tableau_.A(last_, j) - tableau_.A(last_ - 1, j)) * k_.col(j);
    return (k_.col(last_) - k_.col(last_ - 1)).norm() > kStiff * new_k_.norm();
  }

  /// The norm of the error over h.
  double estimate() {
    const double squares = pass_.sum(4.0 * static_cast<double>(last_ + 1), [&](Index begin, Index count) {
      Stretches::Tile error = Stretches::Tile::Zero(count), weights(count);
      for (Index i = 0; i <= last_; ++i) error += tableau_.e[i] * k_.col(i).segment(begin, count);
      tolerance_.weights(w_.segment(begin, count), new_w_.segment(begin, count), weights, begin);
      return error.cwiseProduct(weights).squaredNorm();
    });
    return std::sqrt(squares / static_cast<double>(flow_.size()));
  }

  /// Of the path of a step only its polynomial is kept, w(x) = w + h sum_m bends_m x^(m+1).
  void keep_path() {
    bends_.setZero();
    for (Index m = 0; m < bends_.cols(); ++m)
      for (Index i = 0; i <= last_; ++i) bends_.col(m) += tableau_.D(i, m) * k_.col(i);
  }

  /// One of each direction of a path.
  using Shares = Eigen::Matrix<double, Eigen::Dynamic, 1, 0, 8, 1>;

  static Eigen::Vector4d powers(double x) { return {x, x * x, x * x * x, x * x * x * x}; }

  /// out = start + directions shares
  static void path(const Vector& start, const Matrix& directions, const Shares& shares, VectorRef out) {
    out = start;
    for (Index i = 0; i < shares.size(); ++i) out += shares[i] * directions.col(i);
  }

  Flow& flow_;
  const Tableau& tableau_;
  Tolerance tolerance_;
  Clock clock_{0.0};
  Index last_;  // stage
  Vector c_;    // of the stages, in the step
  Vector w_, old_w_, new_w_, new_k_;
  Matrix k_;      // of the step that is tried
  Matrix bends_;  // of the last accepted one
  Stretches pass_;
  double h_ = 0.0, last_h_ = 0.0, error_ = 0.0, last_error_ = 1e-4;
  bool rejected_ = false;
  Attempt::Outcome outcome_ = Attempt::Outcome::done;
};

}  // namespace

std::unique_ptr<OneStepMethod> make_tsit5(Flow& flow, Tolerance tolerance) {
  tolerance.require_size(flow.size());
  return std::make_unique<ExplicitRungeKutta>(flow, tsit5(), std::move(tolerance));
}

}  // namespace grokflow
