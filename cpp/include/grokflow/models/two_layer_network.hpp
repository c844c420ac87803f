// A network with one hidden layer and one output:
//
//   f(x) = s sum_j u_j act(<v_j, x> [+ b_j]) [+ a],   w = [u (m), V (m x p, row-major)(, b (m))(, a)].
//
// With Z = X V^T + 1 b^T (n x m), A = act(Z), A' = act'(Z) and B = A' diag(u), the rows of J are sums of
// outer products, so J is never stored:
//
//   J dw  = s (A du + (B o dZ) 1) [+ da],              dZ = X dV^T + 1 db^T
//   J^T q = s [A^T q, E^T X, E^T 1] [, 1^T q],         E = diag(q) B
//   K     = s^2 (A A^T + (B B^T) o (X X^T + 1)) [+ 1]
//   Hess F dw = J^T (c J dw) + s [(A' o dZ)^T g, G^T X, G^T 1] [, 0],
//                                                      g = c r,  G = diag(g) (A' diag(du) + A'' diag(u) o dZ)
//
// with inner biases; without, 1 and what multiplies it are left out. All products run over tiles of neurons that stay in the cache, and that several threads share where they
// are many. V, read as p x m column-major, is used in place. Memory: 2 n m numbers of scratch per call and
// 3 n m in a linearisation.
#pragma once

#include <mutex>

#include "grokflow/activation.hpp"
#include "grokflow/models/samples.hpp"
#include "grokflow/piecewise.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class TwoLayerNetwork final : public PiecewiseProblem {
 public:
  TwoLayerNetwork(Samples train, std::optional<Samples> test, Index width, Activation activation,
                  bool output_bias, double output_scale, bool inner_bias = true);

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
  /// The neurons are its units, and the data points their surfaces (two_layer_piece.cpp).
  std::shared_ptr<Piece> make_piece(const Decay& decay) const override;

  /// out = f at the rows of X.
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  class At;
  class InMode;

  /// Scratch of one call; everything takes its size when first needed.
  struct Scratch {
    Matrix A, A1;  ///< n x m
    Matrix J;      ///< n x d, for a dense Hessian
    Vector r;      ///< n
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
  /// out = the sum of what work(neurons, part) puts into `part`, in the order of the tiles.
  template <class Work>
  void sum_over_neurons(VectorRef out, Work&& work) const;
  /// Z = X V^T + 1 b^T on the given neurons; for a direction in place of w, dZ.
  template <class Out>
  void preactivation(const ConstVectorRef& w, const Matrix& X, Index j, Index count, Out&& Z) const;
  /// A, A', with `order` 2 also A'', and r at w.
  void forward(const ConstVectorRef& w, int order, Matrix& A, Matrix& A1, Matrix& A2, Vector& r) const;
  /// out = J^T q at the point with these A, A' and u.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A, const Matrix& A1,
                 VectorRef out) const;
  /// Where b begins, or would, and where the inner weights end.
  Index b_begin() const { return width_ * (1 + inputs_); }
  Index inner_end() const { return b_begin() + (inner_bias_ ? width_ : 0); }
  /// X X^T, made when the first K is built.
  const Matrix& input_kernel() const;

  Samples train_;
  std::optional<Samples> test_;
  Index width_, inputs_;
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
