// A diagonal network of any depth L: f(x) = <b(w), x>, with coefficients
//
//   product      b = u_1 o ... o u_L,     w = [u_1 (D), ..., u_L (D)]
//   difference   b = u^L - v^L,           w = [u (D), v (D)]
//
// With the slopes D_l = db / du_l, and g = c X^T r:
//
//   J = [X diag(D_1), X diag(D_2), ...],    K = X diag(sum_l D_l^2) X^T
//   Hess F dw = [D_l o h + g o D_l'],       h = c X^T X (sum_l D_l o dw_l),  D_l' the derivative of D_l along dw
#pragma once

#include "grokflow/models/samples.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class DeepDiagonalNetwork final : public Problem {
 public:
  enum class Form { product, difference };

  /// Throws std::invalid_argument if the depth is below 2.
  DeepDiagonalNetwork(Samples train, std::optional<Samples> test, Index depth, Form form);

  bool has_hvp() const override { return true; }
  bool has_hvp_through() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override;
  /// Adds test_loss, if there are test samples, and coefficients (D).
  std::vector<Quantity> quantities() const override;

  /// out = X b(w).
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  class At;

  struct Scratch {
    Vector coefficients;    ///< D numbers: b, or a gradient with respect to it
    Vector r;               ///< n
    Vector slopes, before;  ///< d
    Vector left, right;     ///< D
    Matrix scaled;          ///< X diag(.), n x D, sized by the first K
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  Index num_blocks() const { return num_params() / size_; }
  void coefficients(const ConstVectorRef& w, Vector& out) const;
  /// out (d) = [D_1, D_2, ...]
  void slopes(const ConstVectorRef& w, Scratch& work, Vector& out) const;
  /// out (d) = their derivatives along dw
  void bends(const ConstVectorRef& w, const ConstVectorRef& dw, Scratch& work, VectorRef out) const;

  Samples train_;
  std::optional<Samples> test_;
  Index size_;  ///< D
  Index depth_;
  Form form_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
