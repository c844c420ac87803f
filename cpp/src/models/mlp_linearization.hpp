#pragma once

#include "grokflow/models/mlp.hpp"

namespace grokflow {

/// w, A, A', A'' and g = c r at one point. The formulas are at the head of models/mlp.hpp.
class MLPLinearization final : public Linearization {
 public:
  explicit MLPLinearization(const MLP& net);

  void refill(const ConstVectorRef& w);
  void jvp(const ConstVectorRef& v, VectorRef out) const override;
  void vjp(const ConstVectorRef& q, VectorRef out) const override;
  void gram(Index begin, Index end, MatrixRef K) const override;
  const Vector* scaled_residual() const override { return &pass_.r; }
  void hvp(const ConstVectorRef& v, VectorRef out) const override;
  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                   VectorRef out) const override;

 private:
  using Map = MLP::Map;
  using ConstMap = MLP::ConstMap;

  /// out = J v, with dA_l, and A''_l o dZ_l if `curved`, in the scratch.
  void push_forward(const ConstVectorRef& v, bool curved, MLP::Scratch& scratch, VectorRef out) const;
  /// K (lower triangle) += (weight A A^T + offset) o (B B^T), A the inputs of layer l.
  void add_layer(Index l, double weight, double offset, const Map& B, MatrixRef K) const;

  const MLP& net_;
  Vector w_;
  MLP::Pass pass_;  // its r holds g
};

}  // namespace grokflow
