// Steps of a one-step method inside modes.
//
// A step that runs over the end of its mode is cut there and solved once more, so that the mode ends close to
// the end of a step, where an implicit method puts w on the slow manifold of a stiff flow. If the shorter step
// does not meet the surface, the mode goes on. A mode that still ends as soon as it has begun when the step is a
// hundredth is taken to end at once: still shorter steps would resolve how the forces react to the last change.
// Where it goes on after all, the step was too long to tell, and the next one is shorter.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "grokflow/modes.hpp"

namespace grokflow {
namespace {

constexpr double kAtOnce = 1e-3;  // a mode that ends earlier in the step asks for a shorter one,
constexpr double kShorter = 0.1;
constexpr double kShortest = 0.05;  // unless it is shorter than this part already;
constexpr int kCuts = 3;
constexpr double kSpacing = 4.0 * std::numeric_limits<double>::epsilon();  // of times
constexpr double kNearEnd = 0.99;  // and a mode that ends later in the step does not ask for another solution

class PiecewiseStepper final : public Stepper {
 public:
  PiecewiseStepper(Flow& flow, std::unique_ptr<OneStepMethod> inner, Modes& modes, double t0)
      : flow_(flow), inner_(std::move(inner)), modes_(modes), t_(t0) {}

  double start(const ConstVectorRef& w0, double first_step) override {
    w_ = w0;
    modes_.begin(t_.t(), w_);
    new_w_ = w_;
    return inner_->start(w_, first_step);
  }

  Attempt attempt(const double whole) override {
    double h = whole;
    const double spacing = kSpacing * std::abs(t_.t());
    // The last step keeps its mode until here: its dense output may be asked for.
    if (restart_) modes_.change(t_.t(), asked_, w_);
    if (!modes_.trouble().empty()) return {Attempt::Outcome::mode_unresolved, 0.0};
    if (restart_) {
      inner_->restart(w_, beyond_);
      restart_ = false;
      if (modes_.goes_on()) h = std::min(h, std::max(kShorter * h, spacing));
    }
    asked_ = inner_h_ = h;
    ends_ = false;
    Attempt attempt = inner_->attempt(h);
    if (!attempt.success()) return attempt;
    double x = modes_.end_of_mode(*inner_, t_.t(), inner_h_);
    for (int cut = 0; x < kNearEnd && cut < kCuts; ++cut) {
      if (x < kAtOnce && inner_h_ < kShortest * h) break;
      const double part = x < kAtOnce ? kShorter : x;
      inner_h_ *= part;
      attempt = inner_->cut(part);
      if (!attempt.success()) return attempt;
      x = modes_.refine(*inner_, t_.t(), inner_h_);
    }
    if (x >= Modes::kNone) {
      if (inner_h_ < whole) attempt.cut = inner_h_;
      return attempt;
    }
    x = std::max(x, std::min(spacing / inner_h_, 1.0));  // time goes on, w only as far as it is known
    inner_->preview(x, new_w_);
    if (!flow_.retract(new_w_)) return {Attempt::Outcome::off_manifold, 0.0};
    ends_ = true;
    new_h_ = attempt.cut = std::max(x * inner_h_, spacing);
    return attempt;
  }

  double accept() override {
    const double next = inner_->accept();
    h_ = ends_ ? new_h_ : inner_h_;
    t_.advance(h_);
    beyond_ = inner_h_ - h_;
    if (!ends_) {
      w_ = inner_->w();
      modes_.advance(w_);
      return next;
    }
    w_.swap(new_w_);
    restart_ = true;
    return asked_;
  }

  double reject() override { return inner_->reject(); }

  const ConstVectorRef w() const override { return w_; }

  void interpolate(double back, VectorRef out) const override {
    if (back == 0.0)
      out = w_;
    else
      inner_->interpolate(std::clamp(back + beyond_, 0.0, inner_h_), out);
  }

  int order() const override { return inner_->order(); }
  double slack() const override { return inner_->slack(); }

  void state(Archive& archive) override {
    modes_.state(archive);  // first: the flow is frozen in its mode
    archive(t_, w_, ends_, restart_, asked_, inner_h_, new_h_, h_, beyond_);
    inner_->state(archive);
  }
  std::string trouble() const override { return modes_.trouble(); }

 private:
  Flow& flow_;
  std::unique_ptr<OneStepMethod> inner_;
  Modes& modes_;
  Clock t_;
  Vector w_, new_w_;
  bool ends_ = false;              // the last attempt ends its mode
  bool restart_ = false;           // the last step has ended its mode
  double asked_ = 0.0;             // size of the step that was tried,
  double inner_h_ = 0.0;           // of the one that was solved,
  double new_h_ = 0.0;             // and of the one to be taken
  double h_ = 0.0, beyond_ = 0.0;  // size of the last step, and how much farther the inner one went
};

}  // namespace

std::unique_ptr<Stepper> make_piecewise(Flow& flow, std::unique_ptr<OneStepMethod> inner, Modes& modes,
                                        double t0) {
  return std::make_unique<PiecewiseStepper>(flow, std::move(inner), modes, t0);
}

}  // namespace grokflow
