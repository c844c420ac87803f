// A loss on top of a model: F(w) = c l(f(w)), f(w) the residuals of another problem.
//
// A model whose targets are zero has its outputs for residuals; so every problem with residuals, built in or one's
// own, takes every loss:
//
//   auto outputs = std::make_shared<MLP>(Samples{X, Vector::Zero(n * k), 1.0}, std::nullopt, widths, activation, true);
//   OutputProblem problem({outputs, cross_entropy(targets, k), 1.0 / n});
//
// Where the loss is attained the residual is rho and J is B^T J (loss.hpp), so that kernels and projections serve as
// they do for squares; but F is not (c/2) ||rho||^2, and J is not the derivative of rho. Elsewhere there are no
// residuals, and curvature is that of the whole Hessian,
//
//   Hess F v = c J^T S J v + sum_i (c g_i) Hess f_i v,
//
// the second part by the model, by one's own hvp, or by a difference of J^T (c g) along v.
#pragma once

#include <optional>
#include <utility>

#include "grokflow/loss.hpp"
#include "grokflow/piecewise.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

/// Outputs at some samples (the residuals of that problem), and what is asked of them: c l(f).
struct Fit {
  std::shared_ptr<const Problem> outputs;
  std::shared_ptr<const Loss> loss;
  double scale;

  double value(const ConstVectorRef& w) const;
};

class OutputProblem : public PiecewiseProblem {
 public:
  /// Throws std::invalid_argument if the loss is of another number of outputs.
  explicit OutputProblem(Fit train, std::optional<Fit> test = std::nullopt);

  bool is_quadratic() const override;
  bool has_hvp() const override { return true; }
  bool solves() const override { return train_.outputs->solves(); }
  bool attained() const override { return train_.loss->attained(); }
  double escape_loss() const override;
  bool has_kernel_trace() const override { return train_.loss->is_quadratic(); }

  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override { return train_.value(w); }
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  bool faint_gradient(const ConstVectorRef& w, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  /// Not known but for squares: throws std::invalid_argument.
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override { return train_.outputs->blocks(); }
  /// Those of any problem, then "test_loss", then what the model has beside them.
  std::vector<Quantity> quantities() const override;

  /// Those of a network below: its modes are exact with every loss that is smooth.
  bool has_kinks() const override { return piecewise(*train_.outputs) != nullptr; }
  std::pair<Index, Index> bound() const override { return piecewise(*train_.outputs)->bound(); }
  std::shared_ptr<Piece> make_piece(const Decay& decay, const Frozen& frozen = {}) const override;

  const Fit& train() const { return train_; }
  const std::optional<Fit>& test() const { return test_; }

 private:
  class At;

  struct Scratch {
    Vector f, x, u, B;
    Buffer K, half;
  };
  WorkspacePool<Scratch>::Lease scratch() const;

  Fit train_;
  std::optional<Fit> test_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
