#include "grokflow/schedule.hpp"

#include <algorithm>
#include <utility>

#include "grokflow/gradient_flow.hpp"

namespace grokflow {
namespace {

class ScheduledStepper final : public Stepper {
 public:
  ScheduledStepper(GradientFlow& flow, std::function<std::unique_ptr<Stepper>()> make)
      : flow_(flow), make_(std::move(make)), inner_(make_()) {}

  double start(const ConstVectorRef& w0, double first_step) override { return inner_->start(w0, first_step); }

  Attempt attempt(double h) override {
    asked_ = tried_ = h;
    if (ended_) tried_ = std::min(h, begin_piece());
    const double left = flow_.length_of_piece(piece_) - clock_.t() - clock_.lag();
    ends_ = tried_ >= left * (1.0 - 1e-12);
    if (ends_) tried_ = left;
    Attempt attempt = inner_->attempt(tried_);
    if (attempt.success() && attempt.cut > 0.0) {  // at an event of the method's own
      ends_ = ends_ && attempt.cut >= tried_;
      tried_ = attempt.cut;
    } else if (attempt.success() && tried_ < h) {
      attempt.cut = tried_;
    }
    return attempt;
  }

  double accept() override {
    const double next = inner_->accept();
    clock_.advance(tried_);
    previous_.reset();
    ended_ = ends_;
    return ended_ ? asked_ : next;
  }

  double reject() override { return inner_->reject(); }

  const ConstVectorRef w() const override { return inner_->w(); }
  void interpolate(double back, VectorRef out) const override {
    (previous_ ? previous_ : inner_)->interpolate(back, out);
  }
  int order() const override { return inner_->order(); }
  double slack() const override { return std::max(slack_, inner_->slack()); }
  std::string trouble() const override { return inner_->trouble(); }

  void state(Archive& archive) override {
    archive.bounded(piece_, 0, flow_.num_pieces() - 1);
    archive(clock_, asked_, tried_, slack_, ended_);
    flow_.enter_piece(piece_);
    inner_->state(archive);
  }

 private:
  /// Begins anew at the break, and returns the size of a first step. Only now: until the next attempt the last step
  /// may be asked for its path. Where the flow throws nothing has changed.
  double begin_piece() {
    flow_.enter_piece(piece_ + 1);
    auto fresh = make_();
    const double h = fresh->start(inner_->w(), 0.0);
    slack_ = slack();
    previous_ = std::exchange(inner_, std::move(fresh));
    clock_ = Clock(0.0);
    ++piece_;
    ended_ = false;
    return h;
  }

  GradientFlow& flow_;
  std::function<std::unique_ptr<Stepper>()> make_;
  std::unique_ptr<Stepper> inner_, previous_;  // of this piece, and of the last one until a step is accepted
  Index piece_ = 0;
  Clock clock_{0.0};                   // since the begin of the piece
  double asked_ = 0.0, tried_ = 0.0;   // sizes of the last attempt
  double slack_ = 1.0;                 // of the pieces before
  bool ends_ = false, ended_ = false;  // the attempt, or the last step, ends at a break
};

}  // namespace

std::unique_ptr<Stepper> make_scheduled(GradientFlow& flow, std::function<std::unique_ptr<Stepper>()> make) {
  return std::make_unique<ScheduledStepper>(flow, std::move(make));
}

}  // namespace grokflow
