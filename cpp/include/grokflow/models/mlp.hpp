// A multi-layer perceptron with one or several outputs, of any depth:
//
//   A_0 = X,   Z_l = A_{l-1} W_l^T + 1 b_l^T,   A_l = act(Z_l),  l = 1 .. L,   f(X) = Z_{L+1},
//
// w = [W_1 (out x in, row-major), b_1, W_2, b_2, ..., W_{L+1}, b_{L+1}], without the b of layers that have none.
// The residuals are numbered sample by sample: r_{io + k} = f_k(x_i) - y_{ik} with o outputs.
//
// With A'_l = act'(Z_l), "o" the elementwise product and E_{L+1} = the given weights q of the residuals, the
// products with J are the well-known passes over the network, each a product of matrices per layer:
//
//   J dw  = dZ_{L+1},   dZ_l = dA_{l-1} W_l^T + A_{l-1} dW_l^T + 1 db_l^T,   dA_l = A'_l o dZ_l,
//   J^T q = [E_l^T A_{l-1}, E_l^T 1]_l,                       E_l = A'_l o (E_{l+1} W_{l+1}),
//   Hess F dw = [dE_l^T A_{l-1} + E_l^T dA_{l-1}, dE_l^T 1]_l,
//                                     E_{L+1} = c r,  dE_{L+1} = c J dw,
//               dE_l = A'_l o (dE_{l+1} W_{l+1} + E_{l+1} dW_{l+1}) + A''_l o dZ_l o (E_{l+1} W_{l+1}).
//
// The gradient of a residual by W_l is an outer product. So, with one row of B_l for each residual, the
// tangent kernel needs no J:
//
//   K = sum_l (A_{l-1} A_{l-1}^T + 1) o (B_l B_l^T),   B_l = A'_l o (B_{l+1} W_{l+1}),  B_{L+1} = 1,
//
// where a row of A and A' counts for each output of its sample.
//
// Cost, for d parameters, n samples and o outputs, in operations: residual 2 n d, gradient and J dw with
// J^T q each 6 n d together with the forward pass, Hess F dw 14 n d, K n o d + n^2 o^2 sum(widths)
// + n^2 sum(inputs). Memory: 2 n sum(widths) for a gradient; d + 3 n sum(widths) in a linearisation, and
// 2 n o max(width) for K. No product is formed from copies of W.
#pragma once

#include <vector>

#include "grokflow/activation.hpp"
#include "grokflow/models/samples.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class MLP final : public Problem {
 public:
  /// `widths` of the hidden layers. The targets y (n o) of the samples run over the outputs first.
  MLP(Samples train, std::optional<Samples> test, std::vector<Index> widths, Activation activation,
      bool bias);
  /// Whether each layer has biases, the last one included.
  MLP(Samples train, std::optional<Samples> test, std::vector<Index> widths, Activation activation,
      const std::vector<bool>& biases);

  /// In the last layer.
  bool is_quadratic_in(const std::vector<std::pair<Index, Index>>& ranges) const override;
  bool has_hvp() const override { return true; }
  bool has_hvp_through() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Block> blocks() const override;
  /// Adds test_loss, if there are test samples, and balance if all layers are linear and without biases.
  std::vector<Quantity> quantities() const override;

  Index num_outputs() const { return layers_.back().out; }
  /// out (samples * outputs) = f at the rows of X, sample by sample.
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  friend class MLPLinearization;
  using Map = Eigen::Map<Matrix>;
  using ConstMap = Eigen::Map<const Matrix>;

  /// Sizes of a layer, and where its W and b begin in w.
  struct Layer {
    Index in, out, W, b;
    bool bias;
  };

  /// What the hidden layers hold at the training inputs, and the residual.
  struct Pass {
    std::vector<Matrix> A, A1, A2;
    Vector r;
  };

  /// Scratch of one call; everything takes its size when first needed.
  struct Scratch {
    Pass pass;
    std::vector<Matrix> dA, curved;  ///< dA_l, and A''_l o dZ_l
    Buffer E[2], dE[2];              ///< of the layer above and of this one
    Vector h;                        ///< n o
  };

  /// Scratch for one tile of K: products of the inputs, and of the sensitivities.
  struct Products {
    Buffer inputs, rows;
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  Index hidden() const { return static_cast<Index>(layers_.size()) - 1; }
  /// The layers as they are numbered here: 0 .. hidden().
  const Layer& layer(Index l) const { return layers_[static_cast<std::size_t>(l)]; }
  static Matrix& at(std::vector<Matrix>& matrices, Index l) { return matrices[static_cast<std::size_t>(l)]; }
  static const Matrix& at(const std::vector<Matrix>& matrices, Index l) {
    return matrices[static_cast<std::size_t>(l)];
  }
  /// W_l^T (in x out), read in place.
  ConstMap weights(const ConstVectorRef& w, Index l) const {
    return {w.data() + layer(l).W, layer(l).in, layer(l).out};
  }
  Map weights(VectorRef& w, Index l) const { return {w.data() + layer(l).W, layer(l).in, layer(l).out}; }
  /// What layer l reads.
  const Matrix& input(const Pass& pass, Index l) const { return l == 0 ? train_.X : at(pass.A, l - 1); }

  /// Makes `matrices` the n x width of the hidden layers.
  void fit(std::vector<Matrix>& matrices) const;
  /// A, A', with `order` 2 also A'', and r at w.
  void forward(const ConstVectorRef& w, int order, Pass& pass) const;
  /// out (o x n) = the output layer's Z^T.
  void output(const ConstVectorRef& w, const ConstMatrixRef& in, Map out) const;
  /// out = J^T q at the point w, whose A and A' the pass holds.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& w, const Pass& pass, Scratch& scratch,
                 VectorRef out) const;

  Samples train_;
  std::optional<Samples> test_;
  Activation activation_;
  std::vector<Layer> layers_;
  mutable WorkspacePool<Scratch> pool_;
  mutable WorkspacePool<Products> products_;
};

}  // namespace grokflow
