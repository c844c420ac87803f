// A diagonal linear network: f(x) = <u o v, x>, w = [u (D), v (D)]. The flow is invariant under scaling
// u_k up and v_k down; weight decay drives it to the interpolator of smallest l1 norm.
//
//   J = [X diag(v), X diag(u)],    K = X diag(u^2 + v^2) X^T
//   Hess F (du, dv) = [h o v + g o dv, h o u + g o du],   g = c X^T r,  h = c X^T X (u o dv + v o du)
#pragma once

#include "grokflow/models/samples.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class DiagonalLinearNetwork final : public Problem {
 public:
  DiagonalLinearNetwork(Samples train, std::optional<Samples> test);

  bool has_hvp() const override { return true; }
  bool has_hvp_through() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override;
  std::vector<Quantity> quantities() const override;

  /// out = X (u o v).
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  class At;

  struct Scratch {
    Vector coefficients;  ///< D numbers: u o v, or a gradient with respect to it
    Vector r;             ///< n
    Matrix scaled;        ///< X diag(.), n x D, sized by the first K
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  /// out = factor J^T q at w, with g (D) for scratch.
  void pull_back(const Vector& q, double factor, const ConstVectorRef& w, Vector& g, VectorRef out) const;

  Samples train_;
  std::optional<Samples> test_;
  Index size_;  ///< D
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
