#include "grokflow/models/two_layer_network.hpp"

#include <algorithm>
#include <utility>

#include "models/few_samples.hpp"
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

Index count_params(const Samples& train, Index width, bool inner_bias, bool output_bias) {
  if (train.X.rows() == 0) return 0;  // refused later
  const Index outputs = train.y.size() / train.X.rows();
  return width * (train.X.cols() + outputs + inner_bias) + (output_bias ? outputs : 0);
}

/// out_i = <q_i, u>, of the numbers q_i that each sample has, one for each output.
void weigh(const ConstVectorRef& q, const ConstVectorRef& u, VectorRef out) {
  apply_transposed(ConstMap(q.data(), u.size(), out.size()), u, out);
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
  const Index samples = out.size() / outputs_, width = tile_width(samples);
  const auto memory = buffer();
  Map parts = memory->matrix(out.size(), (width_ + width - 1) / width);
  for_neurons(samples,
              [&](Neurons tile) { work(tile, Map(parts.col(tile.number).data(), outputs_, samples)); });
  out = parts.col(0);
  for (Index k = 1; k < parts.cols(); ++k) out += parts.col(k);
}

template <class Out>
void TwoLayerNetwork::preactivation(const ConstVectorRef& w, const Matrix& X, Index j, Index count,
                                    Out&& Z) const {
  multiply(X, ConstMap(w.data() + V_begin() + j * inputs_, inputs_, count), Z);
  if (inner_bias_) Z.rowwise() += w.segment(b_begin() + j, count).transpose();
}

void TwoLayerNetwork::add_output_bias(const ConstVectorRef& w, VectorRef out) const {
  if (output_bias_) Map(out.data(), outputs_, out.size() / outputs_).colwise() += w.tail(outputs_);
}

void TwoLayerNetwork::pull_output_bias(const ConstVectorRef& q, VectorRef out) const {
  if (!output_bias_) return;
  // In order: a vectorised sum depends on where q lies.
  out.tail(outputs_).setZero();
  for (Index i = 0; i < q.size(); ++i) out[inner_end() + i % outputs_] += q[i];
}

void TwoLayerNetwork::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  sum_over_neurons(out, [&](Neurons& tile, auto part) {
    Map& A = tile.memory;
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

template <class Number>
auto TwoLayerNetwork::few_of(Number* w, Index j) const {
  return FewSamples::Part<Number>{w + j, w + V_begin() + j * inputs_,
                                  inner_bias_ ? w + b_begin() + j : nullptr};
}

void TwoLayerNetwork::pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A,
                                const Matrix& A1, VectorRef out) const {
  const Index n = train_.X.rows();
  const ConstMap Q(q.data(), outputs_, n);
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
    Map& E = tile.memory;
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
    multiply(Q, A.middleCols(j, count), Map(out.data() + j * outputs_, outputs_, count));
    multiply_tn(train_.X, E, Map(out.data() + V_begin() + j * inputs_, inputs_, count));
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

/// A, A', A'', u and r at one point.
class TwoLayerNetwork::At final : public Linearization {
 public:
  explicit At(const TwoLayerNetwork& net) : Linearization(net.num_params(), net.num_residuals()), net_(net) {}

  void refill(const ConstVectorRef& w) {
    u_ = w.head(net_.V_begin());
    net_.forward(w, 2, A_, A1_, A2_, g_);
    g_ *= net_.scale();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    const bool few = are_few();
    net_.sum_over_neurons(out, [&](Neurons& tile, auto part) {
      const Index j = tile.begin, count = tile.count;
      if (few) return FewSamples(net_.train_.X).push(few_at(tile), net_.few_of(v.data(), j), part.data());
      Map& dZ = tile.memory;
      net_.preactivation(v, net_.train_.X, j, count, dZ);
      dZ.array() *= A1_.middleCols(j, count).array();
      multiply_nt(net_.outer(v).middleCols(j, count), A_.middleCols(j, count), part);
      add_product_nt(net_.outer(u_).middleCols(j, count), dZ, part);
    });
    out *= net_.output_scale_;
    net_.add_output_bias(v, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override { net_.pull_back(q, u_, A_, A1_, out); }

  const Vector* scaled_residual() const override { return &g_; }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index V = net_.V_begin(), b = net_.b_begin(), a = net_.inner_end(), d = num_params();
    for (Index edge : {begin, end})
      if (edge != 0 && edge != V && edge != b && edge != a && edge != d)
        return Linearization::gram(begin, end, K);
    const auto has = [&](Index first, Index last) { return begin <= first && last <= end; };
    const bool has_u = has(0, V), has_V = has(V, b), has_b = net_.inner_bias_ && has(b, a),
               has_a = a < d && has(a, d);

    auto work = net_.scratch();
    Matrix& B = work->B;
    const Index k = net_.outputs_;
    B.resize(num_residuals(), net_.width_);
    if (has_V || has_b)
      net_.for_neurons(A_.rows(), [&](const Neurons& tile) {
        for (Index j = tile.begin; j < tile.begin + tile.count; ++j)
          if (k == 1)
            B.col(j) = u_[j] * A1_.col(j);
          else
            Map(B.col(j).data(), k, A_.rows()) = net_.outer(u_).col(j).lazyProduct(A1_.col(j).transpose());
      });
    if (has_V) net_.input_kernel();  // made before the threads want it
    const double s2 = net_.output_scale_ * net_.output_scale_;
    const Index depth = net_.width_ * (1 + k * k), side = std::max<Index>(parallel::kTriangle / k, 8);
    for_lower_tiles(A_.rows(), depth, side, [&](const Tile& t) {
      const auto first = net_.buffer(), second = net_.buffer();
      Map outer = first->matrix(t.rows, t.cols), inner = second->matrix(t.rows, t.cols);
      if (has_u)
        gram_tile(A_, t, outer);
      else
        outer.setZero();
      outer.array() = s2 * outer.array() + (has_a ? 1.0 : 0.0);
      inner.setConstant(has_b ? s2 : 0.0);
      if (has_V) inner += s2 * t.of(net_.input_kernel());
      const Tile rows{t.row * k, t.rows * k, t.col * k, t.cols * k};
      auto out = rows.of(K);
      if (has_V || has_b)
        gram_tile(B, rows, out);
      else
        out.setZero();
      net_.combine(outer, inner, out);
    });
    mirror_lower(K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    const double c = net_.scale(), s = net_.output_scale_;
    second_derivative(g_, v, out, [&](Vector& h) {
      h *= s;
      net_.add_output_bias(v, h);
      h *= c;
    });
  }

  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                   VectorRef out) const override {
    second_derivative(g, v, out, [&](Vector& h) {
      h *= net_.output_scale_;
      net_.add_output_bias(v, h);
      S(h);
    });
  }

  bool residual_hvp(const ConstVectorRef& v, VectorRef out) const override {
    if (!are_few()) return false;
    net_.for_neurons(A_.rows(), [&](const Neurons& tile) {
      const Index j = tile.begin;
      FewSamples(net_.train_.X)
          .bend(few_at(tile), net_.output_scale_, g_.data(), net_.few_of(v.data(), j),
                net_.few_of(out.data(), j));
    });
    out.tail(out.size() - net_.inner_end()).setZero();
    return true;
  }

  /// J^T h + sum_i g_i Hess r_i v, where finish(h) makes h = S J v of the sum over the neurons.
  template <class Finish>
  void second_derivative(const ConstVectorRef& g, const ConstVectorRef& v, VectorRef out,
                         Finish&& finish) const {
    auto work = net_.scratch();
    const Index n = A_.rows(), p = net_.inputs_, outputs = net_.outputs_;
    const double s = net_.output_scale_;
    const ConstMap u = net_.outer(u_), du = net_.outer(v), G(g.data(), outputs, n);
    Matrix& dZ = work->A;
    Vector& h = work->r;
    dZ.resize(n, net_.width_);
    h.resize(num_residuals());
    net_.sum_over_neurons(h, [&](Neurons& tile, auto part) {
      const Index j = tile.begin, count = tile.count;
      Map& E = tile.memory;
      net_.preactivation(v, net_.train_.X, j, count, dZ.middleCols(j, count));
      E = A1_.middleCols(j, count).cwiseProduct(dZ.middleCols(j, count));
      multiply_nt(du.middleCols(j, count), A_.middleCols(j, count), part);
      add_product_nt(u.middleCols(j, count), E, part);
      multiply(G, E, Map(out.data() + j * outputs, outputs, count), s);
    });
    finish(h);
    net_.for_neurons(n, [&](Neurons tile) {
      const Index j = tile.begin, count = tile.count;
      Map& E = tile.memory;
      for (Index k = 0; k < count; ++k) {
        auto e = E.col(k);
        auto dz = dZ.col(j + k);
        const auto a1 = A1_.col(j + k), a2 = A2_.col(j + k);
        const auto u_k = u.col(j + k), du_k = du.col(j + k);
        if (outputs == 1) {
          e = a1.cwiseProduct((s * u_k[0]) * h + (s * du_k[0]) * g) +
              (s * u_k[0]) * a2.cwiseProduct(dz).cwiseProduct(g);
          continue;
        }
        weigh(g, u_k, e);
        dz.array() *= a2.array() * e.array();
        weigh(h, u_k, e);
        add_applied_transposed(ConstMap(g.data(), outputs, n), du_k, e);
        e = s * (a1.cwiseProduct(e) + dz);
      }
      add_product(ConstMap(h.data(), outputs, n), A_.middleCols(j, count),
                  Map(out.data() + j * outputs, outputs, count), s);
      multiply_tn(net_.train_.X, E, Map(out.data() + net_.V_begin() + j * p, p, count));
      if (net_.inner_bias_) out.segment(net_.b_begin() + j, count) = E.colwise().sum().transpose();
    });
    net_.pull_output_bias(h, out);
  }

  void hessian(MatrixRef H) const override {
    // c J^T J, and per neuron the second derivatives of f, weighted by g and by act' or act''.
    auto work = net_.scratch();
    const Index n = A_.rows(), m = net_.width_, p = net_.inputs_, outputs = net_.outputs_;
    const Matrix& X = net_.train_.X;
    const ConstMap u = net_.outer(u_), G(g_.data(), outputs, n);
    const bool bias = net_.inner_bias_;
    const double s = net_.output_scale_;
    Matrix& J = work->J;
    J.setZero(num_residuals(), num_params());
    for (Index j = 0; j < m; ++j)
      for (Index i = 0; i < n; ++i)
        for (Index o = 0; o < outputs; ++o) {
          auto row = J.row(i * outputs + o);
          const double slope = s * u(o, j) * A1_(i, j);
          row[j * outputs + o] = s * A_(i, j);
          row.segment(net_.V_begin() + j * p, p) = slope * X.row(i);
          if (bias) row[net_.b_begin() + j] = slope;
        }
    for (Index i = 0; net_.output_bias_ && i < num_residuals(); ++i)
      J(i, net_.inner_end() + i % outputs) = 1.0;
    column_gram(J, H, net_.scale());

    const auto memory = net_.buffer();
    Map gX = memory->matrix(n, p);
    for (Index j = 0; j < m; ++j) {
      const Index V = net_.V_begin() + j * p, b = net_.b_begin() + j;
      const auto add = [&](Index row, Index col, double value) {
        H(row, col) += value;
        if (row != col) H(col, row) += value;
      };
      for (Index o = 0; o < outputs; ++o) {
        work->r = s * G.row(o).transpose().cwiseProduct(A1_.col(j));
        gX = work->r.asDiagonal() * X;
        if (bias) add(j * outputs + o, b, work->r.sum());
        for (Index k = 0; k < p; ++k) add(j * outputs + o, V + k, gX.col(k).sum());
      }
      work->r = s * (G.transpose() * u.col(j)).cwiseProduct(A2_.col(j));
      gX = work->r.asDiagonal() * X;
      if (bias) add(b, b, work->r.sum());
      for (Index k = 0; bias && k < p; ++k) add(b, V + k, gX.col(k).sum());
      add_product_tn(X, gX, H.block(V, V, p, p));
    }
  }

 private:
  bool are_few() const { return FewSamples::serve(A_.rows(), net_.inputs_, net_.outputs_); }
  FewSamples::Neurons few_at(const Neurons& tile) const {
    const Index j = tile.begin;
    return {tile.count, A_.col(j).data(), A1_.col(j).data(), A2_.col(j).data(), u_.data() + j};
  }

  const TwoLayerNetwork& net_;
  Matrix A_, A1_, A2_;
  Vector u_, g_;  // g = c r
};

void TwoLayerNetwork::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
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
  multiply_tn(train_.X, A, Map(gradient.data() + V_begin(), p, m));
  if (inner_bias_) gradient.segment(b_begin(), m) = A.colwise().sum().transpose();
  if (output_bias_) gradient.tail(outputs_).setZero();
  return trace;
}

}  // namespace grokflow
