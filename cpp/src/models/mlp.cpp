#include "grokflow/models/mlp.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "grokflow/models/balance.hpp"
#include "mlp_linearization.hpp"
#include "numerics/parallel.hpp"
#include "numerics/products.hpp"

namespace grokflow {
namespace {

Index count_params(const Samples& train, const std::vector<Index>& widths, const std::vector<bool>& biases) {
  if (biases.size() != widths.size() + 1)
    throw std::invalid_argument("there are " + std::to_string(widths.size() + 1) +
                                " layers, and it is said of " + std::to_string(biases.size()) +
                                " whether they have biases");
  Index in = train.X.cols(), count = 0;
  for (std::size_t l = 0; l < widths.size(); ++l) {
    const Index width = widths[l];
    if (width < 1)
      throw std::invalid_argument("a width is " + std::to_string(width) + "; it must be at least 1");
    count += width * (in + biases[l]);
    in = width;
  }
  if (train.X.rows() == 0 || train.y.size() == 0 || train.y.size() % train.X.rows() != 0)
    throw std::invalid_argument("each sample needs a target for each output");
  return count + train.y.size() / train.X.rows() * (in + biases.back());
}

}  // namespace

MLP::MLP(Samples train, std::optional<Samples> test, std::vector<Index> widths, Activation activation,
         const std::vector<bool>& biases)
    : Problem(count_params(train, widths, biases), train.y.size(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      activation_(std::move(activation)) {
  widths.push_back(train_.y.size() / train_.X.rows());
  require_sizes(train_, test_, widths.back());
  Index in = train_.X.cols(), begin = 0;
  for (std::size_t l = 0; l < widths.size(); ++l) {
    const Index out = widths[l];
    layers_.push_back({in, out, begin, begin + in * out, biases[l]});
    begin += (in + biases[l]) * out;
    in = out;
  }
}

MLP::MLP(Samples train, std::optional<Samples> test, std::vector<Index> widths, Activation activation,
         bool bias)
    : MLP(std::move(train), std::move(test), widths, activation, std::vector<bool>(widths.size() + 1, bias)) {
}

bool MLP::is_quadratic_in(const std::vector<std::pair<Index, Index>>& ranges) const {
  return std::all_of(ranges.begin(), ranges.end(),
                     [this](const auto& range) { return layers_.back().W <= range.first; });
}

std::vector<Block> MLP::blocks() const {
  std::vector<Block> blocks;
  for (Index l = 0; l <= hidden(); ++l) {
    const std::string number = std::to_string(l + 1);
    blocks.push_back({"W" + number, layer(l).W, {layer(l).out, layer(l).in}});
    if (layer(l).bias) blocks.push_back({"b" + number, layer(l).b, {layer(l).out}});
  }
  return blocks;
}

std::vector<Quantity> MLP::quantities() const {
  auto quantities = Problem::quantities();
  append_test_loss(quantities, *this, test_);
  const auto layers = blocks();
  if (activation_.kind == Activation::identity && layers.size() == layers_.size())  // no biases
    quantities.push_back(balance_of(layers));
  return quantities;
}

WorkspacePool<MLP::Scratch>::Lease MLP::scratch() const {
  return pool_.borrow([] { return std::make_unique<Scratch>(); });
}

void MLP::fit(std::vector<Matrix>& matrices) const {
  matrices.resize(static_cast<std::size_t>(hidden()));
  for (Index l = 0; l < hidden(); ++l) at(matrices, l).resize(train_.X.rows(), layer(l).out);
}

void MLP::output(const ConstVectorRef& w, const ConstMatrixRef& in, Map out) const {
  const Layer& last = layers_.back();
  const ConstMap W = weights(w, hidden());
  for_tiles(in.rows(), last.out, last.in, [&](const Tile& t) {
    auto Z = out.block(t.col, t.row, t.cols, t.rows);
    multiply_tt(W.middleCols(t.col, t.cols), in.middleRows(t.row, t.rows), Z);
    if (last.bias) Z.colwise() += w.segment(last.b + t.col, t.cols);
  });
}

void MLP::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  auto work = scratch();
  const Index samples = X.rows();
  ConstMap in(X.data(), samples, X.cols());
  for (Index l = 0; l < hidden(); ++l) {
    const Layer& layer = this->layer(l);
    Map A = work->E[l % 2].matrix(samples, layer.out);
    for_tiles(samples, layer.out, layer.in, [&](const Tile& t) {
      auto Z = t.of(A);
      multiply(in.middleRows(t.row, t.rows), weights(w, l).middleCols(t.col, t.cols), Z);
      if (layer.bias) Z.rowwise() += w.segment(layer.b + t.col, t.cols).transpose();
      for (Index j = 0; j < t.cols; ++j) activate(activation_, Z.col(j).data(), t.rows, Z.col(j).data());
    });
    new (&in) ConstMap(A.data(), A.rows(), A.cols());
  }
  output(w, in, Map(out.data(), num_outputs(), samples));
}

void MLP::residual(const ConstVectorRef& w, VectorRef out) const {
  predict(w, train_.X, out);
  out -= train_.y;
}

double MLP::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  work->h.resize(num_residuals());
  residual(w, work->h);
  return 0.5 * scale() * work->h.squaredNorm();
}

void MLP::forward(const ConstVectorRef& w, int order, Pass& pass) const {
  fit(pass.A);
  fit(pass.A1);
  if (order == 2) fit(pass.A2);
  for (Index l = 0; l < hidden(); ++l) {
    const Layer& layer = this->layer(l);
    const Matrix& in = input(pass, l);
    Matrix &A = at(pass.A, l), &A1 = at(pass.A1, l);
    for_tiles(in.rows(), layer.out, layer.in, [&](const Tile& t) {
      auto Z = t.of(A);
      multiply(in.middleRows(t.row, t.rows), weights(w, l).middleCols(t.col, t.cols), Z);
      if (layer.bias) Z.rowwise() += w.segment(layer.b + t.col, t.cols).transpose();
      for (Index j = 0; j < t.cols; ++j) {
        double *z = Z.col(j).data(), *a1 = &A1(t.row, t.col + j);
        if (order == 2)
          activate(activation_, z, t.rows, z, a1, &at(pass.A2, l)(t.row, t.col + j));
        else
          activate(activation_, z, t.rows, z, a1);
      }
    });
  }
  pass.r.resize(num_residuals());
  output(w, input(pass, hidden()), Map(pass.r.data(), num_outputs(), train_.X.rows()));
  pass.r -= train_.y;
}

void MLP::gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const {
  auto work = scratch();
  forward(w, 1, work->pass);
  outer(work->pass.r);
  pull_back(work->pass.r, w, work->pass, *work, out);
}

void MLP::pull_back(const ConstVectorRef& q, const ConstVectorRef& w, const Pass& pass, Scratch& scratch,
                    VectorRef out) const {
  const Index n = train_.X.rows();
  Buffer *above = &scratch.E[0], *here = &scratch.E[1];
  above->matrix(n, num_outputs()) = ConstMap(q.data(), num_outputs(), n).transpose();
  for (Index l = hidden(); l >= 0; --l) {
    const Layer& layer = this->layer(l);
    const Matrix& in = input(pass, l);
    const Map E = above->matrix(n, layer.out);
    Map dW = weights(out, l);
    for_tiles(layer.in, layer.out, n, [&](const Tile& t) {
      const auto Et = E.middleCols(t.col, t.cols);
      multiply_tn(in.middleCols(t.row, t.rows), Et, t.of(dW));
      if (layer.bias && t.row == 0) out.segment(layer.b + t.col, t.cols) = Et.colwise().sum().transpose();
    });
    if (l == 0) return;
    Map below = here->matrix(n, layer.in);
    for_tiles(n, layer.in, layer.out, [&](const Tile& t) {
      multiply_nt(E.middleRows(t.row, t.rows), weights(w, l).middleRows(t.col, t.cols), t.of(below));
      t.of(below).array() *= t.of(at(pass.A1, l - 1)).array();
    });
    std::swap(above, here);
  }
}

void MLP::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<MLPLinearization>(*this);
  static_cast<MLPLinearization&>(*lin).refill(w);
}

}  // namespace grokflow
