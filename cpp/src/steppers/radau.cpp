// The three-stage Radau IIA method of order 5 (Hairer & Wanner, Solving ODEs II, IV.8).
//
// With Z the stages minus w_n, Z = h A F(w_n + Z). A^-1 has one real eigenvalue mu and a complex pair nu,
// conj(nu); in the basis of its left eigenvectors (l, m, conj(m)) a Newton step falls apart into one real
// and one complex system,
//
//   (I - h/mu f') dR = (h/mu) l.F - R,     (I - h/nu f') dC = (h/nu) m.F - C,     R = l.Z,  C = m.Z.
//
// Where f' is taken at one point for all stages, h f' turns an error across the manifold that a flow follows
// into one along it, the more so the further the stages lie apart, and the iteration diverges as soon as their
// distance is about |h f'|^-1/2. Multiplied by D_i = (mu - h f'_i)^-1, each stage's with f' at this very stage,
// the system is free of large numbers, and one f' does again for what couples the stages:
//
//   y_i = D_i (h F_i - (A^-1 Z)_i),     dR = l.y,     dC = (I + (mu - nu) (nu - h f')^-1) m.y.
//
// That takes three matrices, and contracts at a rate that no longer grows with h f'. It is done for a while
// after one matrix has failed. Where the guess of a stage lies delta off, its f' holds directions of the manifold
// for stiff, and a correction takes only 1 / (1 + h c delta^2) of the error along them away: corrections that
// shrank fast and then stay as they are tell that, and the matrices are made anew where they have led.
//
// Where the flow has forces, f(w) = -J(w)^T g(w) - D w, they are unknowns of their own at each stage, as in the
// differential-algebraic system that the flow tends to for D -> 0. With one J for all stages, which is delta off,
// Newton's method then contracts by delta; in w alone by h c delta^2, since r(w) is wrong by delta^2 and
// c r(w) has to balance the velocity: no step is then longer than D^(-2/3). The forces found are as good as the
// velocity that they make, also where they are far below the tolerance of w.
//
// The error is estimated by an embedded formula of order 3, filtered by (I - h/mu f')^-1. The collocation
// polynomial gives dense output, and its continuation the first guess of the next step.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "grokflow/stepper.hpp"
#include "steppers/frozen_flow.hpp"
#include "steppers/newton.hpp"
#include "steppers/noise.hpp"
#include "steppers/radau_tableau.hpp"

namespace grokflow {
namespace {

/// sum_i c_i column_i, as an expression that needs no memory of its own.
auto combine(const Matrix& m, const Vector3& c) {
  return c[0] * m.col(0) + c[1] * m.col(1) + c[2] * m.col(2);
}
auto combine(const Matrix& m, const Eigen::Vector3cd& c) {
  return c[0] * m.col(0).cast<Complex>() + c[1] * m.col(1).cast<Complex>() + c[2] * m.col(2).cast<Complex>();
}

constexpr int kMaxIterations = 7;
constexpr double kSafety = 0.9;
constexpr double kKeep = 1.2;      // a step that could grow by less stays
constexpr double kGrowth = 10.0;   // the largest growth of a step
constexpr double kQuiet = 0.05;    // share of the allowed error that noise may take
constexpr int kShortestSpell = 4;  // steps with matrices at all stages after one matrix has failed,
constexpr int kLongestSpell = 64;  // more if it fails again
constexpr double kRecovery = 1.3;  // by which that limit itself recovers in each step after a failure

class Radau final : public OneStepMethod {
 public:
  Radau(Flow& flow, Tolerance tolerance)
      : flow_(flow), tolerance_(std::move(tolerance)), gate_(kQuiet, tolerance_.rtol) {
    const Index d = flow.size();
    for (Vector* v : {&w_, &f_, &new_w_, &new_f_, &real_, &real_step_, &filtered_, &weights_, &jump_})
      v->resize(d);
    for (Eigen::VectorXcd* v : {&complex_, &complex_step_}) v->resize(d);
    for (Matrix* m : {&stages_, &guess_, &fields_, &polynomial_}) m->resize(d, 3);
    force_.resize(flow.num_forces());
    for (Matrix* m : {&forces_, &gaps_}) m->resize(flow.num_forces(), flow.num_forces() > 0 ? 3 : 0);
    real_gap_.resize(flow.num_forces());
    complex_gap_.resize(flow.num_forces());
    // Newton's remaining error, relative to the tolerance; at most the square root of rtol, as in Hairer &
    // Wanner, IV.8.
    const double eps = std::numeric_limits<double>::epsilon();
    const double rtol = std::max(tolerance_.rtol, 100.0 * eps);
    newton_target_ = std::max(10.0 * eps / rtol, std::min(0.001, std::sqrt(rtol)));
  }

  double start(const ConstVectorRef& w0, double first_step) override {
    w_ = w0;
    set_stage(0.0);
    flow_.rhs(w_, f_);
    if (forced()) flow_.forces(w_, force_);
    return first_step > 0.0 ? first_step : initial_step(flow_, tolerance_, 3, w_, f_);
  }

  Attempt attempt(double h) override {
    h_ = h;
    if (gate_.suspects()) measure_noise();
    guess_stages();
    if (forced()) forces_.colwise() = force_;
    return solve();
  }

  Attempt cut(double x) override {
    // The path that was found, up to there, is the first guess.
    for (int i = 0; i < 3; ++i) fields_.col(i) = combine(stages_, path_weights(x * tableau_.c[i]));
    stages_.swap(fields_);
    h_ *= x;
    return solve();
  }

  const std::vector<double>& nodes() const override {
    static const std::vector<double> nodes(tableau_.c.data(), tableau_.c.data() + 3);
    return nodes;
  }

  void preview(double x, VectorRef out) const override { out = w_ + combine(stages_, path_weights(x)); }

  const Matrix& forces() const override { return forces_; }

  void restart(const ConstVectorRef& w, double back) override {
    flow_.set_time(clock_.t() - back);
    flow_.rhs(w, new_f_);  // before anything changes: it may throw
    if (forced()) flow_.forces(w, force_);
    jump_ = new_f_ - f_;
    jumped_ = first_ = true;
    clock_.advance(-back);
    w_ = w;
    f_.swap(new_f_);
    last_error_ = 0.0;
    growth_ = kGrowth;
    stale_ = true;
  }
  double accept() override {
    set_stage(1.0);
    field(new_w_, 2, new_f_);  // before anything changes: it may throw
    if (forced()) force_ = forces_.col(2);
    const double factor = std::min(growth_, step_factor());
    growth_ = std::min(kGrowth, kRecovery * growth_);
    w_.swap(new_w_);
    f_.swap(new_f_);
    for (int i = 0; i < 3; ++i) polynomial_.col(i) = combine(stages_, Vector3(tableau_.p.col(i)));
    clock_.advance(h_);
    last_h_ = h_;
    last_error_ = std::max(error_, 1e-2);
    rejected_ = first_ = jumped_ = false;
    if (apart_ > 0)
      --apart_;
    else
      spell_ = std::max(kShortestSpell, spell_ - 1);
    gate_.accept();
    return factor > 1.0 && factor < kKeep && !stale_ ? h_ : h_ * factor;
  }

  double reject() override {
    rejected_ = true;
    gate_.reject();
    growth_ = 1.0;
    if (outcome_ != Attempt::Outcome::done)
      return (outcome_ == Attempt::Outcome::not_finite ? 0.25 : 0.5) * h_;
    // The error estimate is filtered by the Jacobian, and an aged one does not damp it.
    stale_ = !flow_.is_linear();
    return h_ * (last_h_ == 0.0 ? 0.1 : step_factor());
  }

  const ConstVectorRef w() const override { return w_; }

  void interpolate(double back, VectorRef out) const override {
    out = w_;
    if (back == 0.0) return;
    // Q(1) - Q(x) with x = 1 - y, without cancellation
    const double y = back / last_h_;
    out -= y * polynomial_.col(0) + y * (2.0 - y) * polynomial_.col(1) +
           y * (3.0 - y * (3.0 - y)) * polynomial_.col(2);
  }

  int order() const override { return 5; }
  double slack() const override { return gate_.most(); }
  std::string trouble() const override { return monitor_.trouble(); }

  void state(Archive& archive) override {
    archive(clock_, w_, f_, force_, jump_, polynomial_, monitor_, gate_, fields_, weights_, stale_, rejected_,
            first_, jumped_, apart_, spell_, growth_, h_, error_, last_h_, last_error_, outcome_);
    at_[0].lin.state(archive, at_[0].solver);
    at_[1].lin.state(archive, at_[1].solver, complex_solver_);
    at_[2].lin.state(archive, at_[2].solver);
  }

 private:
  /// From the stages guessed.
  Attempt solve() {
    guess_ = stages_;
    centred_ = false;
    outcome_ = solve_newton();
    error_ = 0.0;
    if (outcome_ == Attempt::Outcome::done) {
      new_w_ = w_ + stages_.col(2);
      estimate_error();
      if (!std::isfinite(error_)) outcome_ = Attempt::Outcome::not_finite;
    }
    return {outcome_, error_};
  }

  void weigh(const ConstVectorRef& w) {
    tolerance_.weights(w_, w, weights_);
    gate_.loosen(weights_);
  }

  /// Evaluations to come are at the fraction x of the step.
  void set_stage(double x) { flow_.set_time(clock_.t() + x * h_); }

  bool forced() const { return forces_.cols() > 0; }

  /// Whether errors along the manifold may hide below the first corrections.
  bool hides() const { return apart_ > 0 && !centred_; }

  /// out = f(w), with the forces of this stage.
  void field(const ConstVectorRef& w, int stage, VectorRef out) {
    if (forced())
      flow_.rhs(w, forces_.col(stage), out, gaps_.col(stage));
    else
      flow_.rhs(w, out);
  }

  /// Along the last correction, which the fields have become.
  void measure_noise() {
    set_stage(0.0);
    filtered_ = fields_.col(2);
    if (!gate_.find(flow_, w_, filtered_, weights_, real_step_, new_f_)) return;
    real_step_ *= h_ / tableau_.mu;
    if (at_[1].solver && at_[1].solver->solve(real_step_)) gate_.measured(real_step_, 1.0, weights_);
  }

  /// The collocation polynomial at x is the sum of the stages with these weights.
  static Vector3 path_weights(double x) { return tableau_.p * Vector3(x, x * x, x * x * x); }

  Attempt::Outcome solve_newton() {
    using Outcome = Attempt::Outcome;
    new_w_ = w_;
    if (last_h_ == 0.0) new_w_ += h_ * f_;  // from near 0, w is about to have another size
    weigh(new_w_);
    bool fresh = !at_[1].lin || stale_ || apart_ > 0;
    if (fresh) relinearize();
    while (true) {
      Outcome outcome = Outcome::newton_failed;
      const bool factored = factor();
      if (factored) outcome = iterate();
      if (outcome == Outcome::done) {
        if (monitor_.iterations() > 2 && monitor_.wants_new_matrix())
          stale_ = !(fresh && slow() && sharpen()) && !flow_.is_linear();
        return outcome;
      }
      if (outcome == Outcome::not_finite) return outcome;
      if (!fresh) {
        relinearize();
        fresh = true;
      } else if (factored && hides() && monitor_.contracted()) {
        guess_ = stages_;
        centred_ = true;
        relinearize();
      } else if (factored && monitor_.at_noise(true)) {
        return end_at_noise();
      } else if (apart_ == 0 && !flow_.is_linear()) {
        apart_ = spell_ = std::min(2 * spell_, kLongestSpell);
        relinearize();
      } else if (!sharpen()) {
        if (factored && monitor_.at_noise(false)) return end_at_noise();
        monitor_.fail(factored);
        return outcome;
      }
    }
  }

  Attempt::Outcome end_at_noise() {
    gate_.reject();
    return Attempt::Outcome::done;
  }

  /// Whether a fresh matrix contracted so badly that a better one is worth its price.
  bool slow() const { return monitor_.iterations() > kMaxIterations / 2; }

  /// f' is frozen in the middle of the step foreseen, or at each stage.
  void relinearize() {
    stale_ = true;  // until it has succeeded
    for (int i = first_stage(); i <= last_stage(); ++i) {
      new_w_ = w_ + guess_.col(i);
      set_stage(tableau_.c[i]);
      at_[i].lin.linearize(new_w_);
    }
    stale_ = false;
  }

  bool factor() {
    for (int i = first_stage(); i <= last_stage(); ++i)
      if (!at_[i].lin.factor(h_ / tableau_.mu, at_[i].solver)) return false;
    return at_[1].lin.factor(h_ / tableau_.nu, complex_solver_);
  }

  bool sharpen() {
    bool any = false;
    for (int i = first_stage(); i <= last_stage(); ++i) any = at_[i].lin->sharpen() || any;
    return any;
  }

  /// Those at which there are matrices.
  int first_stage() const { return apart_ > 0 ? 0 : 1; }
  int last_stage() const { return apart_ > 0 ? 2 : 1; }

  void guess_stages() {
    if (last_h_ == 0.0) {
      stages_.setZero();
      return;
    }
    for (int i = 0; i < 3; ++i) {
      const double x = 1.0 + tableau_.c[i] * h_ / last_h_;
      stages_.col(i) = (x - 1.0) * polynomial_.col(0) + (x * x - 1.0) * polynomial_.col(1) +
                       (x * x * x - 1.0) * polynomial_.col(2);
      if (jumped_) stages_.col(i) += (tableau_.c[i] * h_) * jump_;
    }
  }

  Attempt::Outcome iterate() {
    using Verdict = ContractionMonitor::Verdict;
    using Outcome = Attempt::Outcome;
    stages_ = guess_;
    real_ = combine(stages_, tableau_.l);
    complex_ = combine(stages_, tableau_.m);
    const bool exact = flow_.is_linear() && at_[1].solver->exact() && complex_solver_->exact();
    monitor_.begin(exact     ? ContractionMonitor::Trust::exact
                   : hides() ? ContractionMonitor::Trust::least
                             : ContractionMonitor::Trust::none);
    while (true) {
      for (int i = 0; i < 3; ++i) {
        new_w_ = w_ + stages_.col(i);
        set_stage(tableau_.c[i]);
        field(new_w_, i, fields_.col(i));
      }
      if (!all_finite(fields_.reshaped())) return Outcome::not_finite;
      if (!(apart_ > 0 ? correct_apart() : correct())) return Outcome::newton_failed;
      real_ += real_step_;
      complex_ += complex_step_;
      double sum = 0.0;
      for (int i = 0; i < 3; ++i) {
        // Z = v R + 2 Re(u C)
        fields_.col(i) = tableau_.v[i] * real_step_ + 2.0 * (tableau_.u[i] * complex_step_).real();
        stages_.col(i) += fields_.col(i);
        if (forced()) correct_forces(i);
        sum += std::pow(rms_norm(fields_.col(i), weights_), 2);
      }
      switch (monitor_.judge(std::sqrt(sum / 3.0), newton_target_)) {
        case Verdict::converged:
          return Outcome::done;
        case Verdict::diverged:
          return Outcome::newton_failed;
        case Verdict::more:
          break;
      }
    }
  }

  /// A correction with f' of one point.
  bool correct() {
    real_step_ = (h_ / tableau_.mu) * combine(fields_, tableau_.l) - real_;
    complex_step_ = (h_ / tableau_.nu) * combine(fields_, tableau_.m) - complex_;
    if (!forced()) return at_[1].solver->solve(real_step_) && complex_solver_->solve(complex_step_);
    real_gap_ = combine(gaps_, tableau_.l);
    complex_gap_ = combine(gaps_, tableau_.m);
    return at_[1].solver->solve_with_forces(real_step_, real_gap_) &&
           complex_solver_->solve_with_forces(complex_step_, complex_gap_);
  }

  /// A correction with f' of each stage, which overwrites the fields.
  bool correct_apart() {
    for (int i = 0; i < 3; ++i) {
      const Vector3 row = tableau_.inverse.row(i);
      fields_.col(i) = (h_ * fields_.col(i) - combine(stages_, row)) / tableau_.mu;
      if (!solve_at(i, fields_.col(i))) return false;
    }
    real_step_ = combine(fields_, tableau_.l);
    complex_step_ = combine(fields_, tableau_.m);
    if (!complex_solver_->solve(complex_step_)) return false;
    complex_step_ = combine(fields_, tableau_.m) + (tableau_.mu / tableau_.nu - 1.0) * complex_step_;
    return true;
  }

  /// v <- (I - h/mu f')^-1 v, with what is missing of the forces at this stage.
  bool solve_at(int stage, VectorRef v) {
    ShiftedSolver<double>& solver = *at_[stage].solver.solver;
    if (!forced()) return solver.solve(v);
    real_gap_ = gaps_.col(stage);
    return solver.solve_with_forces(v, real_gap_);
  }

  /// After the correction of its stage, in fields_.
  void correct_forces(int stage) {
    if (apart_ > 0) {
      forces_.col(stage) += gaps_.col(stage);
      at_[stage].lin->react(fields_.col(stage), forces_.col(stage));
    } else {
      forces_.col(stage) += tableau_.v[stage] * real_gap_ + 2.0 * (tableau_.u[stage] * complex_gap_).real();
    }
  }

  /// (I - h/mu f')^-1 (h/mu) (f + e.Z / h), filtered once more where a first or a rejected step overestimates
  /// it.
  void estimate_error() {
    const double z = h_ / tableau_.mu;
    ShiftedSolver<double>& filter = *at_[first_stage()].solver.solver;
    weigh(new_w_);
    real_step_ = (z / h_) * combine(stages_, tableau_.e);
    filtered_ = real_step_ + z * f_;
    if (!filter.solve(filtered_)) return fail();
    error_ = rms_norm(filtered_, weights_);
    if (error_ > 1.0 && (rejected_ || first_)) {
      filtered_ += w_;
      set_stage(0.0);
      field(filtered_, first_stage(), new_f_);
      filtered_ = real_step_ + z * new_f_;
      if (!solve_at(first_stage(), filtered_)) return fail();
      error_ = rms_norm(filtered_, weights_);
    }
  }

  void fail() { outcome_ = Attempt::Outcome::newton_failed; }

  /// The predictive controller of Gustafsson, with less safety where Newton's method was quick.
  double step_factor() const {
    const double safety =
        kSafety * (2.0 * kMaxIterations + 1.0) / (2.0 * kMaxIterations + monitor_.iterations());
    double factor = std::pow(error_, -0.25);
    if (last_h_ > 0.0 && last_error_ > 0.0)
      factor = std::min(factor, factor * (h_ / last_h_) * std::pow(last_error_ / error_, 0.25));
    return std::clamp(safety * factor, 0.2, kGrowth);
  }

  inline static const RadauTableau tableau_{};

  Flow& flow_;
  Tolerance tolerance_;
  Clock clock_{0.0};
  double newton_target_;
  struct Frozen {
    FrozenFlow lin;
    Factored<double> solver;
  };
  std::array<Frozen, 3> at_{{{FrozenFlow(flow_), {}}, {FrozenFlow(flow_), {}}, {FrozenFlow(flow_), {}}}};
  Factored<Complex> complex_solver_;
  ContractionMonitor monitor_{{kMaxIterations, 1e-3}};
  NoiseGate gate_;
  bool stale_ = false, rejected_ = false;
  int apart_ = 0;               // steps still to be taken with matrices at all stages
  bool centred_ = false;        // these were made anew where the corrections have led
  int spell_ = kShortestSpell;  // how many there were last time, less those since
  bool first_ = true;           // no step was accepted since the start or the restart
  bool jumped_ = false;         // the field, by jump_, at that restart
  double growth_ = kGrowth;

  Vector w_, f_, new_w_, new_f_, real_, real_step_, filtered_, weights_, jump_;
  Vector force_;          // at w
  Matrix forces_, gaps_;  // at the stages, and what they lack to what w gives there
  Vector real_gap_;       // in the eigenbasis, and then their correction
  Eigen::VectorXcd complex_, complex_step_, complex_gap_;
  Matrix stages_, guess_, fields_, polynomial_;
  double h_ = 0.0, error_ = 0.0;
  double last_h_ = 0.0, last_error_ = 0.0;  // of the last accepted step
  Attempt::Outcome outcome_ = Attempt::Outcome::done;
};

}  // namespace

std::unique_ptr<OneStepMethod> make_radau(Flow& flow, Tolerance tolerance) {
  tolerance.require_size(flow.size());
  return std::make_unique<Radau>(flow, std::move(tolerance));
}

}  // namespace grokflow
