#include "mlp_linearization.hpp"

#include <utility>

#include "numerics/parallel.hpp"
#include "numerics/products.hpp"

namespace grokflow {

MLPLinearization::MLPLinearization(const MLP& net)
    : Linearization(net.num_params(), net.num_residuals()), net_(net) {}

void MLPLinearization::refill(const ConstVectorRef& w) {
  w_ = w;
  net_.forward(w, 2, pass_);
  pass_.r *= net_.scale();
}

void MLPLinearization::vjp(const ConstVectorRef& q, VectorRef out) const {
  auto work = net_.scratch();
  net_.pull_back(q, w_, pass_, *work, out);
}

void MLPLinearization::jvp(const ConstVectorRef& v, VectorRef out) const {
  auto work = net_.scratch();
  push_forward(v, false, *work, out);
}

void MLPLinearization::push_forward(const ConstVectorRef& v, bool curved, MLP::Scratch& scratch,
                                    VectorRef out) const {
  net_.fit(scratch.dA);
  if (curved) net_.fit(scratch.curved);
  const Index n = net_.train_.X.rows(), last = net_.hidden();
  for (Index l = 0; l < last; ++l) {
    const MLP::Layer& layer = net_.layer(l);
    const Matrix& in = net_.input(pass_, l);
    Matrix& dA = MLP::at(scratch.dA, l);
    for_tiles(n, layer.out, (l == 0 ? 1 : 2) * layer.in, [&](const Tile& t) {
      auto dZ = t.of(dA);
      multiply(in.middleRows(t.row, t.rows), net_.weights(v, l).middleCols(t.col, t.cols), dZ);
      if (l > 0)
        add_product(MLP::at(scratch.dA, l - 1).middleRows(t.row, t.rows),
                    net_.weights(w_, l).middleCols(t.col, t.cols), dZ);
      if (layer.bias) dZ.rowwise() += v.segment(layer.b + t.col, t.cols).transpose();
      if (curved) t.of(MLP::at(scratch.curved, l)) = t.of(MLP::at(pass_.A2, l)).cwiseProduct(dZ);
      dZ.array() *= t.of(MLP::at(pass_.A1, l)).array();
    });
  }
  Map dF(out.data(), net_.num_outputs(), n);
  net_.output(v, net_.input(pass_, last), dF);
  if (last == 0) return;
  for_tiles(n, net_.num_outputs(), net_.layer(last).in, [&](const Tile& t) {
    add_product_tt(net_.weights(w_, last).middleCols(t.col, t.cols),
                   MLP::at(scratch.dA, last - 1).middleRows(t.row, t.rows),
                   dF.block(t.col, t.row, t.cols, t.rows));
  });
}

void MLPLinearization::hvp(const ConstVectorRef& v, VectorRef out) const {
  hvp_through(pass_.r, [c = net_.scale()](VectorRef h) { h *= c; }, v, out);
}

void MLPLinearization::hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                                   VectorRef out) const {
  auto work = net_.scratch();
  const Index n = net_.train_.X.rows(), outputs = net_.num_outputs();
  work->h.resize(num_residuals());
  push_forward(v, true, *work, work->h);
  S(work->h);

  Index above = 0, here = 1;  // of the two buffers each
  work->E[above].matrix(n, outputs) = ConstMap(g.data(), outputs, n).transpose();
  work->dE[above].matrix(n, outputs) = ConstMap(work->h.data(), outputs, n).transpose();
  for (Index l = net_.hidden(); l >= 0; --l) {
    const MLP::Layer& layer = net_.layer(l);
    const Matrix& in = net_.input(pass_, l);
    const Map E = work->E[above].matrix(n, layer.out), dE = work->dE[above].matrix(n, layer.out);
    Map HW = net_.weights(out, l);
    for_tiles(layer.in, layer.out, (l == 0 ? 1 : 2) * n, [&](const Tile& t) {
      const auto dEt = dE.middleCols(t.col, t.cols);
      multiply_tn(in.middleCols(t.row, t.rows), dEt, t.of(HW));
      if (l > 0)
        add_product_tn(MLP::at(work->dA, l - 1).middleCols(t.row, t.rows), E.middleCols(t.col, t.cols),
                       t.of(HW));
      if (layer.bias && t.row == 0) out.segment(layer.b + t.col, t.cols) = dEt.colwise().sum().transpose();
    });
    if (l == 0) return;
    Map below = work->E[here].matrix(n, layer.in), dBelow = work->dE[here].matrix(n, layer.in);
    for_tiles(n, layer.in, 3 * layer.out, [&](const Tile& t) {
      const auto Et = E.middleRows(t.row, t.rows), dEt = dE.middleRows(t.row, t.rows);
      const auto W = net_.weights(w_, l).middleRows(t.col, t.cols);
      const auto A1 = t.of(MLP::at(pass_.A1, l - 1)).array();
      auto S = t.of(below), dS = t.of(dBelow);
      multiply_nt(Et, W, S);
      multiply_nt(dEt, W, dS);
      add_product_nt(Et, net_.weights(v, l).middleRows(t.col, t.cols), dS);
      dS.array() = A1 * dS.array() + t.of(MLP::at(work->curved, l - 1)).array() * S.array();
      S.array() *= A1;
    });
    std::swap(above, here);
  }
}

}  // namespace grokflow
