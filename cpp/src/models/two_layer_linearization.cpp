#include <utility>

#include "models/two_layer_passes.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {

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
      MatrixMap& dZ = tile.memory;
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
            MatrixMap(B.col(j).data(), k, A_.rows()) =
                net_.outer(u_).col(j).lazyProduct(A1_.col(j).transpose());
      });
    if (has_V) net_.input_kernel();  // made before the threads want it
    const double s2 = net_.output_scale_ * net_.output_scale_;
    const Index depth = net_.width_ * (1 + k * k), side = std::max<Index>(parallel::kTriangle / k, 8);
    for_lower_tiles(A_.rows(), depth, side, [&](const Tile& t) {
      const auto first = net_.buffer(), second = net_.buffer();
      MatrixMap outer = first->matrix(t.rows, t.cols), inner = second->matrix(t.rows, t.cols);
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
    const ConstMatrixMap u = net_.outer(u_), du = net_.outer(v), G(g.data(), outputs, n);
    Matrix& dZ = work->A;
    Vector& h = work->r;
    dZ.resize(n, net_.width_);
    h.resize(num_residuals());
    net_.sum_over_neurons(h, [&](Neurons& tile, auto part) {
      const Index j = tile.begin, count = tile.count;
      MatrixMap& E = tile.memory;
      net_.preactivation(v, net_.train_.X, j, count, dZ.middleCols(j, count));
      E = A1_.middleCols(j, count).cwiseProduct(dZ.middleCols(j, count));
      multiply_nt(du.middleCols(j, count), A_.middleCols(j, count), part);
      add_product_nt(u.middleCols(j, count), E, part);
      multiply(G, E, MatrixMap(out.data() + j * outputs, outputs, count), s);
    });
    finish(h);
    net_.for_neurons(n, [&](Neurons tile) {
      const Index j = tile.begin, count = tile.count;
      MatrixMap& E = tile.memory;
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
        add_applied_transposed(ConstMatrixMap(g.data(), outputs, n), du_k, e);
        e = s * (a1.cwiseProduct(e) + dz);
      }
      add_product(ConstMatrixMap(h.data(), outputs, n), A_.middleCols(j, count),
                  MatrixMap(out.data() + j * outputs, outputs, count), s);
      multiply_tn(net_.train_.X, E, MatrixMap(out.data() + net_.V_begin() + j * p, p, count));
      if (net_.inner_bias_) out.segment(net_.b_begin() + j, count) = E.colwise().sum().transpose();
    });
    net_.pull_output_bias(h, out);
  }

  void hessian(MatrixRef H) const override {
    // c J^T J, and per neuron the second derivatives of f, weighted by g and by act' or act''.
    auto work = net_.scratch();
    const Index n = A_.rows(), m = net_.width_, p = net_.inputs_, outputs = net_.outputs_;
    const Matrix& X = net_.train_.X;
    const ConstMatrixMap u = net_.outer(u_), G(g_.data(), outputs, n);
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
    MatrixMap gX = memory->matrix(n, p);
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

}  // namespace grokflow
