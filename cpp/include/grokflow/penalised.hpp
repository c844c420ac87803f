// The flow of F + lam R, of which the drift of R on the manifold of minimisers is the limit in slow time.
//
//   auto trace = std::make_shared<grokflow::HessianTrace>(problem);
//   auto sum = grokflow::penalised(problem, trace, 1e-3);            // F + 1e-3 R
//   grokflow::GradientRun run(sum, w0, grokflow::Decay(d, 0.0), {0.0, 1e4});
//
// Its rates may change over time, as those of weight decay (schedule.hpp): lam is then multiplied by the factor.
//
// Norms are better told as weight decay (decay.hpp). An l1 norm has kinks, the surfaces w_i = 0, which the flow
// crosses or slides along (piecewise.hpp): there the condition is |grad_i F| <= lam weight_i.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "grokflow/piecewise.hpp"
#include "grokflow/regularizer.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

/// F + lam R of a smooth R: it has no residuals, and products with its Hessian if F does. What it lets observe,
/// "train_loss" for one, is F alone.
class PenalisedProblem final : public Problem {
 public:
  PenalisedProblem(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   double lam);
  /// For a run in which lam changes:
  std::shared_ptr<PenalisedProblem> copy() const;
  /// from now on it is multiplied by what `factor` says at the moment.
  void decay_by(std::function<double()> factor) { factor_ = std::move(factor); }

  bool has_hvp() const override { return problem_->has_hvp(); }
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override { return problem_->cost(); }
  std::vector<Block> blocks() const override { return problem_->blocks(); }
  std::vector<Quantity> quantities() const override { return problem_->quantities(); }

 private:
  class At;

  double lam() const { return factor_ ? lam_ * factor_() : lam_; }

  std::shared_ptr<const Problem> problem_;
  std::shared_ptr<const Regularizer> regularizer_;
  double lam_;
  std::function<double()> factor_;
  mutable WorkspacePool<Vector> slopes_;  // of R
};

/// R(w) = sum_i weight_i |w_i|. Its gradient takes sign(0) = 0; flows know its kinks.
class L1Norm final : public Regularizer {
 public:
  /// The weights, one for each parameter, are not negative.
  explicit L1Norm(Vector weights);
  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override;
  const Vector& weights() const { return weights_; }

 private:
  Vector weights_;
};

/// A smooth F with an l1 norm on top, which only its flow feels: functions are those of F. Each weight that the norm
/// has is a unit with one surface.
class L1Problem final : public PiecewiseProblem {
 public:
  L1Problem(std::shared_ptr<const Problem> problem, L1Norm norm);

  bool has_kinks() const override { return true; }
  std::shared_ptr<Piece> make_piece(const Decay& decay, const Frozen& frozen = {}) const override;

  bool has_hvp() const override { return problem_->has_hvp(); }
  bool has_hessian() const override { return problem_->has_hessian(); }
  bool attained() const override { return problem_->attained(); }
  void residual(const ConstVectorRef& w, VectorRef out) const override { problem_->residual(w, out); }
  double loss(const ConstVectorRef& w) const override { return problem_->loss(w); }
  void gradient(const ConstVectorRef& w, VectorRef out) const override { problem_->gradient(w, out); }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override {
    problem_->linearize(w, lin);
  }
  Cost cost() const override { return problem_->cost(); }
  std::vector<Block> blocks() const override { return problem_->blocks(); }
  std::vector<Quantity> quantities() const override { return problem_->quantities(); }

 private:
  class InMode;  // l1_piece.cpp

  std::shared_ptr<const Problem> problem_;
  L1Norm norm_;
};

/// F + lam R. Throws std::invalid_argument if F has kinks of its own.
std::shared_ptr<const Problem> penalised(std::shared_ptr<const Problem> problem,
                                         std::shared_ptr<const Regularizer> regularizer, double lam);

/// `regularizer` as the drift on a piece feels it: an l1 norm by the signs of the mode.
std::shared_ptr<const Regularizer> on_piece(std::shared_ptr<const Regularizer> regularizer,
                                            const Piece& piece);

}  // namespace grokflow
