#include "grokflow/models/two_layer_network.hpp"

#include <algorithm>
#include <utility>

#include "models/two_layer_passes.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

/// Numbers in a tile: the few tiles of a pass stay in the second-level cache together.
constexpr Index kTileSize = 1 << 13;

Index count_params(const Samples& train, Index width, bool inner_bias, bool output_bias) {
  if (train.X.rows() == 0) return 0;  // refused later
  const Index outputs = train.y.size() / train.X.rows();
  return width * (train.X.cols() + outputs + inner_bias) + (output_bias ? outputs : 0);
}

}  // namespace

TwoLayerNetwork::TwoLayerNetwork(Samples train, std::optional<Samples> test, Index width,
                                 Activation activation, bool output_bias, double output_scale,
                                 bool inner_bias)
    : PiecewiseProblem(count_params(train, width, inner_bias, output_bias), train.y.size(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      width_(width),
      inputs_(train_.X.cols()),
      outputs_(train_.X.rows() > 0 ? train_.y.size() / train_.X.rows() : 1),
      activation_(std::move(activation)),
      output_bias_(output_bias),
      output_scale_(output_scale),
      inner_bias_(inner_bias) {
  require_sizes(train_, test_, outputs_);
}

bool TwoLayerNetwork::is_quadratic_in(const std::vector<std::pair<Index, Index>>& ranges) const {
  return std::all_of(ranges.begin(), ranges.end(), [this](const auto& range) {
    return range.second <= V_begin() || inner_end() <= range.first;
  });
}

/// X V^T, act and X^T E; A A^T and B B^T.
Cost TwoLayerNetwork::cost() const {
  const double n = static_cast<double>(train_.X.rows()), m = static_cast<double>(width_),
               k = static_cast<double>(outputs_);
  return {n * m * static_cast<double>(4 * (inputs_ + outputs_ - 1) + kActivation), n * n * m * (1.0 + k * k)};
}

std::vector<Block> TwoLayerNetwork::blocks() const {
  const Index m = width_, p = inputs_;
  std::vector<Block> blocks = {{"u", 0, {m}}, {"V", V_begin(), {m, p}}};
  if (outputs_ > 1) blocks[0].shape.push_back(outputs_);
  if (inner_bias_) blocks.push_back({"b", b_begin(), {m}});
  if (output_bias_) blocks.push_back({"a", inner_end(), {outputs_}});
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

void TwoLayerNetwork::add_output_bias(const ConstVectorRef& w, VectorRef out) const {
  if (output_bias_) MatrixMap(out.data(), outputs_, out.size() / outputs_).colwise() += w.tail(outputs_);
}

void TwoLayerNetwork::pull_output_bias(const ConstVectorRef& q, VectorRef out) const {
  if (!output_bias_) return;
  // In order: a vectorised sum depends on where q lies.
  out.tail(outputs_).setZero();
  for (Index i = 0; i < q.size(); ++i) out[inner_end() + i % outputs_] += q[i];
}

void TwoLayerNetwork::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  sum_over_neurons(out, [&](Neurons& tile, auto part) {
    MatrixMap& A = tile.memory;
    preactivation(w, X, tile.begin, tile.count, A);
    activate(activation_, A.data(), A.size(), A.data());
    multiply_nt(outer(w).middleCols(tile.begin, tile.count), A, part);
  });
  out *= output_scale_;
  add_output_bias(w, out);
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
  pull_back(work->r, w.head(V_begin()), work->A, work->A1, out);
}

void TwoLayerNetwork::forward(const ConstVectorRef& w, int order, Matrix& A, Matrix& A1, Matrix& A2,
                              Vector& r) const {
  const Index n = train_.X.rows();
  A.resize(n, width_);
  A1.resize(n, width_);
  if (order == 2) A2.resize(n, width_);
  r.resize(num_residuals());
  sum_over_neurons(r, [&](const Neurons& neurons, auto part) {
    const Index j = neurons.begin, count = neurons.count;
    auto tile = A.middleCols(j, count);
    preactivation(w, train_.X, j, count, tile);
    if (order == 2)
      activate(activation_, tile.data(), n * count, tile.data(), A1.col(j).data(), A2.col(j).data());
    else
      activate(activation_, tile.data(), n * count, tile.data(), A1.col(j).data());
    multiply_nt(outer(w).middleCols(j, count), tile, part);
  });
  r = output_scale_ * r - train_.y;
  add_output_bias(w, r);
}

void TwoLayerNetwork::pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A,
                                const Matrix& A1, VectorRef out) const {
  const Index n = train_.X.rows();
  const ConstMatrixMap Q(q.data(), outputs_, n);
  if (FewSamples::serve(n, inputs_, outputs_)) {
    for_neurons(n, [&](const Neurons& tile) {
      const Index j = tile.begin;
      FewSamples(train_.X).pull({tile.count, A.col(j).data(), A1.col(j).data(), nullptr, u.data() + j},
                                output_scale_, q.data(), few_of(out.data(), j));
    });
    pull_output_bias(q, out);
    return;
  }
  for_neurons(n, [&](Neurons tile) {
    const Index j = tile.begin, count = tile.count;
    MatrixMap& E = tile.memory;
    for (Index k = 0; k < count; ++k) {
      const auto u_k = outer(u).col(j + k);
      const auto a1 = A1.col(j + k);
      if (outputs_ == 1) {
        E.col(k) = (output_scale_ * u_k[0]) * a1.cwiseProduct(q);
      } else {
        weigh(q, u_k, E.col(k));
        E.col(k).array() *= output_scale_ * a1.array();
      }
    }
    multiply(Q, A.middleCols(j, count), MatrixMap(out.data() + j * outputs_, outputs_, count));
    multiply_tn(train_.X, E, MatrixMap(out.data() + V_begin() + j * inputs_, inputs_, count));
    if (inner_bias_) out.segment(b_begin() + j, count) = E.colwise().sum().transpose();
  });
  out.head(V_begin()) *= output_scale_;
  pull_output_bias(q, out);
}

void TwoLayerNetwork::combine(const ConstMatrixRef& outer, const ConstMatrixRef& inner, MatrixRef K) const {
  const Index k = outputs_;
  if (k == 1) {
    K = inner.cwiseProduct(K) + outer;
    return;
  }
  for (Index col = 0; col < K.cols(); ++col)
    for (Index i = 0; i < inner.rows(); ++i) {
      K.col(col).segment(i * k, k) *= inner(i, col / k);
      K(i * k + col % k, col) += outer(i, col / k);
    }
}

const Matrix& TwoLayerNetwork::input_kernel() const {
  std::call_once(input_kernel_once_, [this] {
    input_kernel_.resize(train_.X.rows(), train_.X.rows());
    row_gram(train_.X, input_kernel_);
  });
  return input_kernel_;
}

/// s^2 sum_ij k act(z_ij)^2 + ||u_j||^2 act'(z_ij)^2 (||x_i||^2 [+ 1]), and 1 for each row with an output bias.
double TwoLayerNetwork::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  const Index m = width_, p = inputs_;
  const double s2 = output_scale_ * output_scale_, k = static_cast<double>(outputs_);
  const Vector sizes = train_.X.rowwise().squaredNorm().array() + (inner_bias_ ? 1.0 : 0.0);
  Matrix A, A1, A2;
  Vector r;
  forward(w, 2, A, A1, A2, r);
  double trace = output_bias_ ? static_cast<double>(num_residuals()) : 0.0;
  for (Index j = 0; j < m; ++j) {
    const auto u = outer(w).col(j);
    const double inner = A1.col(j).cwiseAbs2().dot(sizes), u2 = u.squaredNorm();
    trace += s2 * (k * A.col(j).squaredNorm() + u2 * inner);
    gradient.segment(j * outputs_, outputs_) = (2.0 * s2 * inner) * u;
    // The derivative by z_j, in place of A.
    A.col(j) = (2.0 * s2) * A1.col(j).cwiseProduct(k * A.col(j) + u2 * A2.col(j).cwiseProduct(sizes));
  }
  multiply_tn(train_.X, A, MatrixMap(gradient.data() + V_begin(), p, m));
  if (inner_bias_) gradient.segment(b_begin(), m) = A.colwise().sum().transpose();
  if (output_bias_) gradient.tail(outputs_).setZero();
  return trace;
}

}  // namespace grokflow
