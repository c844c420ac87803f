// What the drift makes small: the leading term in lam of what the flow feels on the manifold of minimisers.
//
//   auto norm = grokflow::WeightedNorm(grokflow::Decay(d, 1.0));      // R(w) = ||w||^2 / 2: weight decay
//   double value = norm.evaluate(w, gradient);                       // R(w), and grad R(w)
#pragma once

#include <memory>

#include "grokflow/decay.hpp"
#include "grokflow/problem.hpp"

namespace grokflow {

class Regularizer {
 public:
  virtual ~Regularizer() = default;
  /// R(w), and in `gradient` (d) grad R(w).
  virtual double evaluate(const ConstVectorRef& w, VectorRef gradient) const = 0;
};

/// R(w) = sum_b weight_b ||w_b||^2 / 2: weight decay, uniform or by block.
class WeightedNorm final : public Regularizer {
 public:
  explicit WeightedNorm(Decay weights) : weights_(std::move(weights)) {}
  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override;
  const Decay& weights() const { return weights_; }

 private:
  Decay weights_;
};

/// R(w) = c sum_i ||grad r_i(w)||^2, the trace of Hess F on the zero-loss manifold: what label noise in
/// stochastic gradient descent makes small (Li, Wang & Arora, arXiv:2110.06914).
class HessianTrace final : public Regularizer {
 public:
  /// Throws std::invalid_argument if the problem has no residuals, or another loss than squares.
  explicit HessianTrace(std::shared_ptr<const Problem> problem);
  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override;

 private:
  std::shared_ptr<const Problem> problem_;
};

}  // namespace grokflow
