#include "grokflow/models/two_layer_network.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

/// Numbers in a tile: the few tiles of a pass stay in the second-level cache together.
constexpr Index kTileSize = 1 << 13;
/// The price of an activation, in multiplications.
constexpr Index kActivation = 16;

using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;

}  // namespace

TwoLayerNetwork::TwoLayerNetwork(Samples train, std::optional<Samples> test, Index width,
                                 Activation activation, bool output_bias, double output_scale,
                                 bool inner_bias)
    : PiecewiseProblem(width * (train.X.cols() + 1 + inner_bias) + output_bias, train.X.rows(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      width_(width),
      inputs_(train_.X.cols()),
      activation_(activation),
      output_bias_(output_bias),
      output_scale_(output_scale),
      inner_bias_(inner_bias) {
  require_sizes(train_, test_);
}

/// X V^T, act and X^T E; A A^T and B B^T.
Cost TwoLayerNetwork::cost() const {
  const double n = static_cast<double>(num_residuals()), m = static_cast<double>(width_);
  return {n * m * static_cast<double>(4 * inputs_ + kActivation), 2.0 * n * n * m};
}

std::vector<Block> TwoLayerNetwork::blocks() const {
  const Index m = width_, p = inputs_;
  std::vector<Block> blocks = {{"u", 0, {m}}, {"V", m, {m, p}}};
  if (inner_bias_) blocks.push_back({"b", b_begin(), {m}});
  if (output_bias_) blocks.push_back({"a", inner_end(), {1}});
  return blocks;
}

std::vector<Quantity> TwoLayerNetwork::quantities() const {
  auto quantities = Problem::quantities();
  append_test_loss(quantities, *this, test_);
  return quantities;
}

WorkspacePool<TwoLayerNetwork::Scratch>::Lease TwoLayerNetwork::scratch() const {
  return pool_.borrow([] { return std::make_unique<Scratch>(); });
}

WorkspacePool<Buffer>::Lease TwoLayerNetwork::buffer() const {
  return buffers_.borrow([] { return std::make_unique<Buffer>(); });
}

Index TwoLayerNetwork::tile_width(Index samples) { return std::max<Index>(kTileSize / samples, 16); }

template <class Work>
void TwoLayerNetwork::for_neurons(Index samples, Work&& work) const {
  const Index width = tile_width(samples);
  const double flops =
      2.0 * static_cast<double>(samples * width_) * static_cast<double>(inputs_ + kActivation);
  parallel_for((width_ + width - 1) / width, flops, [&](Index number) {
    const Index begin = number * width, count = std::min(width, width_ - begin);
    const auto memory = buffer();
    work(Neurons{begin, count, number, memory->matrix(samples, count)});
  });
}

template <class Work>
void TwoLayerNetwork::sum_over_neurons(VectorRef out, Work&& work) const {
  const Index width = tile_width(out.size());
  const auto memory = buffer();
  Map parts = memory->matrix(out.size(), (width_ + width - 1) / width);
  for_neurons(out.size(), [&](Neurons tile) { work(tile, parts.col(tile.number)); });
  out = parts.col(0);
  for (Index k = 1; k < parts.cols(); ++k) out += parts.col(k);
}

template <class Out>
void TwoLayerNetwork::preactivation(const ConstVectorRef& w, const Matrix& X, Index j, Index count,
                                    Out&& Z) const {
  multiply(X, ConstMap(w.data() + width_ + j * inputs_, inputs_, count), Z);
  if (inner_bias_) Z.rowwise() += w.segment(b_begin() + j, count).transpose();
}

void TwoLayerNetwork::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  sum_over_neurons(out, [&](Neurons& tile, auto part) {
    Map& A = tile.memory;
    preactivation(w, X, tile.begin, tile.count, A);
    activate(activation_, A.data(), A.size(), A.data());
    apply(A, w.segment(tile.begin, tile.count), part);
  });
  out *= output_scale_;
  if (output_bias_) out.array() += w[num_params() - 1];
}

void TwoLayerNetwork::residual(const ConstVectorRef& w, VectorRef out) const {
  predict(w, train_.X, out);
  out -= train_.y;
}

double TwoLayerNetwork::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  work->r.resize(num_residuals());
  residual(w, work->r);
  return 0.5 * scale() * work->r.squaredNorm();
}

void TwoLayerNetwork::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                       VectorRef out) const {
  auto work = scratch();
  forward(w, 1, work->A, work->A1, work->A, work->r);
  outer(work->r);
  pull_back(work->r, w.head(width_), work->A, work->A1, out);
}

void TwoLayerNetwork::forward(const ConstVectorRef& w, int order, Matrix& A, Matrix& A1, Matrix& A2,
                              Vector& r) const {
  const Index n = num_residuals();
  A.resize(n, width_);
  A1.resize(n, width_);
  if (order == 2) A2.resize(n, width_);
  r.resize(n);
  sum_over_neurons(r, [&](const Neurons& neurons, auto part) {
    const Index j = neurons.begin, count = neurons.count;
    auto tile = A.middleCols(j, count);
    preactivation(w, train_.X, j, count, tile);
    if (order == 2)
      activate(activation_, tile.data(), n * count, tile.data(), A1.col(j).data(), A2.col(j).data());
    else
      activate(activation_, tile.data(), n * count, tile.data(), A1.col(j).data());
    apply(tile, w.segment(j, count), part);
  });
  r = output_scale_ * r - train_.y;
  if (output_bias_) r.array() += w[num_params() - 1];
}

void TwoLayerNetwork::pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A,
                                const Matrix& A1, VectorRef out) const {
  const Index n = num_residuals();
  for_neurons(n, [&](Neurons tile) {
    const Index j = tile.begin, count = tile.count;
    Map& E = tile.memory;
    for (Index k = 0; k < count; ++k) E.col(k) = (output_scale_ * u[j + k]) * A1.col(j + k).cwiseProduct(q);
    apply_transposed(A.middleCols(j, count), q, out.segment(j, count));
    multiply_tn(train_.X, E, Map(out.data() + width_ + j * inputs_, inputs_, count));
    if (inner_bias_) out.segment(b_begin() + j, count) = E.colwise().sum().transpose();
  });
  out.head(width_) *= output_scale_;
  // In order: a vectorised sum depends on where q lies.
  if (output_bias_) out[num_params() - 1] = std::accumulate(q.begin(), q.end(), 0.0);
}

const Matrix& TwoLayerNetwork::input_kernel() const {
  std::call_once(input_kernel_once_, [this] {
    input_kernel_.resize(num_residuals(), num_residuals());
    row_gram(train_.X, input_kernel_);
  });
  return input_kernel_;
}

/// A, A', A'', u and r at one point.
class TwoLayerNetwork::At final : public Linearization {
 public:
  explicit At(const TwoLayerNetwork& net) : Linearization(net.num_params(), net.num_residuals()), net_(net) {}

  void refill(const ConstVectorRef& w) {
    u_ = w.head(net_.width_);
    net_.forward(w, 2, A_, A1_, A2_, g_);
    g_ *= net_.scale();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    net_.sum_over_neurons(out, [&](Neurons& tile, auto part) {
      const Index j = tile.begin, count = tile.count;
      Map& dZ = tile.memory;
      net_.preactivation(v, net_.train_.X, j, count, dZ);
      dZ.array() *= A1_.middleCols(j, count).array();
      apply(A_.middleCols(j, count), v.segment(j, count), part);
      add_applied(dZ, u_.segment(j, count), part);
    });
    out *= net_.output_scale_;
    if (net_.output_bias_) out.array() += v[num_params() - 1];
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override { net_.pull_back(q, u_, A_, A1_, out); }

  const Vector* scaled_residual() const override { return &g_; }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index m = net_.width_, V = m, b = net_.b_begin(), a = net_.inner_end(), d = num_params();
    for (Index edge : {begin, end})
      if (edge != 0 && edge != V && edge != b && edge != a && edge != d)
        return Linearization::gram(begin, end, K);
    const auto has = [&](Index first, Index last) { return begin <= first && last <= end; };
    const bool has_u = has(0, V), has_V = has(V, b), has_b = net_.inner_bias_ && has(b, a),
               has_a = a < d && has(a, d);

    auto work = net_.scratch();
    Matrix& B = work->A;
    B.resize(A_.rows(), m);
    if (has_V || has_b)
      net_.for_neurons(B.rows(), [&](const Neurons& tile) {
        const Index j = tile.begin, count = tile.count;
        B.middleCols(j, count) = A1_.middleCols(j, count) * u_.segment(j, count).asDiagonal();
      });
    if (has_V) net_.input_kernel();  // made before the threads want it
    for_lower_tiles(K.rows(), 2 * m, parallel::kTriangle, [&](const Tile& t) {
      auto out = t.of(K);
      if (has_u)
        gram_tile(A_, t, out);
      else
        out.setZero();
      if (has_V || has_b) {
        const auto memory = net_.buffer();
        Map BB = memory->matrix(t.rows, t.cols);
        gram_tile(B, t, BB);
        if (has_V) out += BB.cwiseProduct(t.of(net_.input_kernel()));
        if (has_b) out += BB;
      }
      out *= net_.output_scale_ * net_.output_scale_;
      if (has_a) out.array() += 1.0;
    });
    mirror_lower(K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    const double c = net_.scale(), s = net_.output_scale_;
    second_derivative(g_, v, out, [&](Vector& h) {
      h *= s * c;
      if (net_.output_bias_) h.array() += c * v[num_params() - 1];
    });
  }

  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                   VectorRef out) const override {
    second_derivative(g, v, out, [&](Vector& h) {
      h *= net_.output_scale_;
      if (net_.output_bias_) h.array() += v[num_params() - 1];
      S(h);
    });
  }

  /// J^T h + sum_i g_i Hess r_i v, where finish(h) makes h = S J v of the sum over the neurons.
  template <class Finish>
  void second_derivative(const ConstVectorRef& g, const ConstVectorRef& v, VectorRef out,
                         Finish&& finish) const {
    auto work = net_.scratch();
    const Index n = A_.rows(), m = net_.width_, p = net_.inputs_;
    const double s = net_.output_scale_;
    Matrix& dZ = work->A;
    Vector& h = work->r;
    dZ.resize(n, m);
    h.resize(n);
    net_.sum_over_neurons(h, [&](Neurons& tile, auto part) {
      const Index j = tile.begin, count = tile.count;
      Map& E = tile.memory;
      net_.preactivation(v, net_.train_.X, j, count, dZ.middleCols(j, count));
      E = A1_.middleCols(j, count).cwiseProduct(dZ.middleCols(j, count));
      apply(A_.middleCols(j, count), v.segment(j, count), part);
      add_applied(E, u_.segment(j, count), part);
      apply_transposed(E, g, out.segment(j, count), s);
    });
    finish(h);
    net_.for_neurons(n, [&](Neurons tile) {
      const Index j = tile.begin, count = tile.count;
      Map& E = tile.memory;
      for (Index k = 0; k < count; ++k)
        E.col(k) = A1_.col(j + k).cwiseProduct((s * u_[j + k]) * h + (s * v[j + k]) * g) +
                   (s * u_[j + k]) * A2_.col(j + k).cwiseProduct(dZ.col(j + k)).cwiseProduct(g);
      add_applied_transposed(A_.middleCols(j, count), h, out.segment(j, count), s);
      multiply_tn(net_.train_.X, E, Map(out.data() + m + j * p, p, count));
      if (net_.inner_bias_) out.segment(net_.b_begin() + j, count) = E.colwise().sum().transpose();
    });
    if (net_.output_bias_) out[num_params() - 1] = h.sum();
  }

  void hessian(MatrixRef H) const override {
    // c J^T J, and per neuron the second derivatives of f, weighted by g and by act' or act''.
    auto work = net_.scratch();
    const Index n = A_.rows(), m = net_.width_, p = net_.inputs_, d = num_params();
    const Matrix& X = net_.train_.X;
    const bool bias = net_.inner_bias_;
    const double s = net_.output_scale_;
    Matrix& J = work->J;
    J.resize(n, d);
    J.leftCols(m) = s * A_;
    for (Index j = 0; j < m; ++j) {
      J.middleCols(m + j * p, p) = ((s * u_[j]) * A1_.col(j)).asDiagonal() * X;
      if (bias) J.col(net_.b_begin() + j) = (s * u_[j]) * A1_.col(j);
    }
    if (net_.output_bias_) J.col(d - 1).setOnes();
    column_gram(J, H, net_.scale());

    const auto memory = net_.buffer();
    Map gX = memory->matrix(n, p);
    for (Index j = 0; j < m; ++j) {
      const Index V = m + j * p, b = net_.b_begin() + j;
      const auto add = [&](Index row, Index col, double value) {
        H(row, col) += value;
        if (row != col) H(col, row) += value;
      };
      gX = (s * g_.cwiseProduct(A1_.col(j))).asDiagonal() * X;
      if (bias) add(j, b, s * g_.dot(A1_.col(j)));
      for (Index k = 0; k < p; ++k) add(j, V + k, gX.col(k).sum());
      gX = ((s * u_[j]) * g_.cwiseProduct(A2_.col(j))).asDiagonal() * X;
      if (bias) add(b, b, s * u_[j] * g_.dot(A2_.col(j)));
      for (Index k = 0; bias && k < p; ++k) add(b, V + k, gX.col(k).sum());
      add_product_tn(X, gX, H.block(V, V, p, p));
    }
  }

 private:
  const TwoLayerNetwork& net_;
  Matrix A_, A1_, A2_;
  Vector u_, g_;  // g = c r
};

void TwoLayerNetwork::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

/// s^2 sum_ij act(z_ij)^2 + u_j^2 act'(z_ij)^2 (||x_i||^2 [+ 1]), and 1 for each sample with an output bias.
double TwoLayerNetwork::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  const Index n = num_residuals(), m = width_, p = inputs_;
  const double s2 = output_scale_ * output_scale_;
  const Vector sizes = train_.X.rowwise().squaredNorm().array() + (inner_bias_ ? 1.0 : 0.0);
  Matrix A, A1, A2;
  Vector r;
  forward(w, 2, A, A1, A2, r);
  double trace = output_bias_ ? static_cast<double>(n) : 0.0;
  for (Index j = 0; j < m; ++j) {
    const double u = w[j], inner = A1.col(j).cwiseAbs2().dot(sizes);
    trace += s2 * (A.col(j).squaredNorm() + u * u * inner);
    gradient[j] = 2.0 * s2 * u * inner;
    // The derivative by z_j, in place of A.
    A.col(j) = (2.0 * s2) * A1.col(j).cwiseProduct(A.col(j) + (u * u) * A2.col(j).cwiseProduct(sizes));
  }
  multiply_tn(train_.X, A, Map(gradient.data() + m, p, m));
  if (inner_bias_) gradient.segment(b_begin(), m) = A.colwise().sum().transpose();
  if (output_bias_) gradient[num_params() - 1] = 0.0;
  return trace;
}

}  // namespace grokflow
