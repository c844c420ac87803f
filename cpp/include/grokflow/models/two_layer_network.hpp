// A network with one hidden layer and k outputs, as many as there are targets for each sample:
//
//   f(x) = s sum_j u_j act(<v_j, x> [+ b_j]) [+ a],   w = [u (m x k), V (m x p)(, b (m))(, a (k))],
//
// row-major. With Z = X V^T + 1 b^T (n x m), A = act(Z), A' = act'(Z) and B = A' diag(u), the rows of J are sums of
// outer products, so J is never stored. Of one output:
//
//   J dw  = s (A du + (B o dZ) 1) [+ da],              dZ = X dV^T + 1 db^T
//   J^T q = s [A^T q, E^T X, E^T 1] [, 1^T q],         E = diag(q) B
//   K     = s^2 (A A^T + (B B^T) o (X X^T + 1)) [+ 1]
//   Hess F dw = J^T (c J dw) + s [(A' o dZ)^T g, G^T X, G^T 1] [, 0],
//                                                      g = c r,  G = diag(g) (A' diag(du) + A'' diag(u) o dZ)
//
// with inner biases; without, 1 and what multiplies it are left out. Of several, numbers of a sample lie side by side
// (n x k, row-major), E = A' o (q u^T), and K has the blocks (A A^T) o I_k + (B B^T) o (X X^T + 1), where B has a row
// for each output of each sample. All products run over tiles of neurons that stay in the cache, and that several
// threads share where they are many. u and V, read as k x m and p x m column-major, are used in place. Memory: 2 n m
// numbers of scratch per call and 3 n m in a linearisation; K takes n k m beside.
#pragma once

#include <mutex>
#include <utility>

#include "grokflow/activation.hpp"
#include "grokflow/models/samples.hpp"
#include "grokflow/piecewise.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class TwoLayerNetwork final : public PiecewiseProblem {
 public:
  TwoLayerNetwork(Samples train, std::optional<Samples> test, Index width, Activation activation,
                  bool output_bias, double output_scale, bool inner_bias = true);

  /// In u and a.
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
  std::vector<Quantity> quantities() const override;

  bool has_kinks() const override;
  std::pair<Index, Index> bound() const override { return {V_begin(), inner_end()}; }
  /// The neurons are its units, and the data points their surfaces (two_layer_piece.cpp).
  std::shared_ptr<Piece> make_piece(const Decay& decay, const Frozen& frozen = {}) const override;

  Index num_outputs() const { return outputs_; }
  /// out = f at the rows of X, sample by sample.
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  class At;
  class InMode;

  /// Scratch of one call; everything takes its size when first needed.
  struct Scratch {
    Matrix A, A1;  ///< n x m
    Matrix B;      ///< n k x m
    Matrix J;      ///< n k x d, for a dense Hessian
    Vector r;      ///< n k
  };

  /// Some neurons, the number of this tile, and memory for a sample and neuron each.
  struct Neurons {
    Index begin, count, number;
    Eigen::Map<Matrix> memory;
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  WorkspacePool<Buffer>::Lease buffer() const;
  /// How many neurons make a tile.
  static Index tile_width(Index samples);
  /// Calls work(neurons) for all tiles of neurons, several at a time.
  template <class Work>
  void for_neurons(Index samples, Work&& work) const;
  /// out = the sum of what work(neurons, part) puts into `part` (k x n), in the order of the tiles.
  template <class Work>
  void sum_over_neurons(VectorRef out, Work&& work) const;
  /// Z = X V^T + 1 b^T on the given neurons; for a direction in place of w, dZ.
  template <class Out>
  void preactivation(const ConstVectorRef& w, const Matrix& X, Index j, Index count, Out&& Z) const;
  /// A, A', with `order` 2 also A'', and r at w.
  void forward(const ConstVectorRef& w, int order, Matrix& A, Matrix& A1, Matrix& A2, Vector& r) const;
  /// K <- K o inner + outer o I_k: of two samples in `inner` and `outer`, of each output of each in K.
  void combine(const ConstMatrixRef& outer, const ConstMatrixRef& inner, MatrixRef K) const;
  /// u, k x m; for a direction in place of w, du.
  Eigen::Map<const Matrix> outer(const ConstVectorRef& w) const { return {w.data(), outputs_, width_}; }
  /// out += a for each sample, and its transpose: its part of out = the sum of q over samples, in their order.
  void add_output_bias(const ConstVectorRef& w, VectorRef out) const;
  void pull_output_bias(const ConstVectorRef& q, VectorRef out) const;
  /// out = J^T q at the point with these A, A' and u.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A, const Matrix& A1,
                 VectorRef out) const;
  /// What the neurons from j on have of w, or of a direction, for `FewSamples`.
  template <class Number>
  auto few_of(Number* w, Index j) const;
  /// Where V and b begin, b if there is one, and where the inner weights end.
  Index V_begin() const { return width_ * outputs_; }
  Index b_begin() const { return width_ * (outputs_ + inputs_); }
  Index inner_end() const { return b_begin() + (inner_bias_ ? width_ : 0); }
  /// X X^T, made when the first K is built.
  const Matrix& input_kernel() const;

  Samples train_;
  std::optional<Samples> test_;
  Index width_, inputs_, outputs_;
  Activation activation_;
  bool output_bias_;
  double output_scale_;
  bool inner_bias_;
  mutable std::once_flag input_kernel_once_;
  mutable Matrix input_kernel_;
  mutable WorkspacePool<Scratch> pool_;
  mutable WorkspacePool<Buffer> buffers_;
};

}  // namespace grokflow
