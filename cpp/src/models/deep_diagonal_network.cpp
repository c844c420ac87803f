#include "grokflow/models/deep_diagonal_network.hpp"

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

Index count_blocks(Index depth, DeepDiagonalNetwork::Form form) {
  if (depth < 2) throw std::invalid_argument("depth is " + std::to_string(depth) + "; it must be at least 2");
  return form == DeepDiagonalNetwork::Form::product ? depth : 2;
}

/// out = factor x^n, entry by entry
template <class X, class Out>
void power(double factor, const X& x, Index n, Out&& out) {
  out.setConstant(factor);
  for (Index i = 0; i < n; ++i) out.array() *= x.array();
}

}  // namespace

DeepDiagonalNetwork::DeepDiagonalNetwork(Samples train, std::optional<Samples> test, Index depth, Form form)
    : Problem(count_blocks(depth, form) * train.X.cols(), train.X.rows(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      size_(train_.X.cols()),
      depth_(depth),
      form_(form) {
  require_sizes(train_, test_);
}

/// Twice through X, and X diag(.) X^T.
Cost DeepDiagonalNetwork::cost() const {
  const double n = static_cast<double>(num_residuals()), D = static_cast<double>(size_),
               d = static_cast<double>(num_params());
  return {2.0 * apply_cost(n * D) + 8.0 * d, 2.0 * n * n * D};
}

std::vector<Block> DeepDiagonalNetwork::blocks() const {
  if (form_ == Form::difference) return {{"u", 0, {size_}}, {"v", size_, {size_}}};
  std::vector<Block> blocks;
  for (Index l = 0; l < depth_; ++l) blocks.push_back({"u" + std::to_string(l + 1), l * size_, {size_}});
  return blocks;
}

std::vector<Quantity> DeepDiagonalNetwork::quantities() const {
  auto quantities = Problem::quantities();
  append_test_loss(quantities, *this, test_);
  quantities.push_back({"coefficients", size_, [this](const ConstVectorRef& w, VectorRef out) {
                          auto work = scratch();
                          coefficients(w, work->coefficients);
                          out = work->coefficients;
                        }});
  return quantities;
}

WorkspacePool<DeepDiagonalNetwork::Scratch>::Lease DeepDiagonalNetwork::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    for (Vector* of_inputs : {&fresh->coefficients, &fresh->left, &fresh->right}) of_inputs->resize(size_);
    for (Vector* of_weights : {&fresh->slopes, &fresh->before}) of_weights->resize(num_params());
    fresh->r.resize(num_residuals());
    return fresh;
  });
}

void DeepDiagonalNetwork::coefficients(const ConstVectorRef& w, Vector& out) const {
  if (form_ == Form::difference) {
    power(1.0, w.head(size_), depth_, out);
    for (Index k = 0; k < size_; ++k) {
      double of_v = 1.0;
      for (Index i = 0; i < depth_; ++i) of_v *= w[size_ + k];
      out[k] -= of_v;
    }
    return;
  }
  out = w.head(size_);
  for (Index l = 1; l < depth_; ++l) out.array() *= w.segment(l * size_, size_).array();
}

/// In a product what is before a factor and what comes after it, by two passes.
void DeepDiagonalNetwork::slopes(const ConstVectorRef& w, Scratch& work, Vector& out) const {
  if (form_ == Form::difference) {
    const double L = static_cast<double>(depth_);
    power(L, w.head(size_), depth_ - 1, out.head(size_));
    power(-L, w.tail(size_), depth_ - 1, out.tail(size_));
    return;
  }
  Vector& product = work.left;
  product.setOnes();
  for (Index l = 0; l < depth_; ++l) {
    out.segment(l * size_, size_) = product;
    product.array() *= w.segment(l * size_, size_).array();
  }
  product.setOnes();
  for (Index l = depth_; l-- > 0;) {
    out.segment(l * size_, size_).array() *= product.array();
    product.array() *= w.segment(l * size_, size_).array();
  }
}

/// The same two passes, and their derivatives.
void DeepDiagonalNetwork::bends(const ConstVectorRef& w, const ConstVectorRef& dw, Scratch& work,
                                VectorRef out) const {
  if (form_ == Form::difference) {
    const double second = static_cast<double>(depth_ * (depth_ - 1));
    power(second, w.head(size_), depth_ - 2, out.head(size_));
    power(-second, w.tail(size_), depth_ - 2, out.tail(size_));
    out.array() *= dw.array();
    return;
  }
  auto product = work.left.array(), derivative = work.right.array();
  const auto step = [&](Index l) {
    derivative =
        derivative * w.segment(l * size_, size_).array() + product * dw.segment(l * size_, size_).array();
    product *= w.segment(l * size_, size_).array();
  };
  product.setOnes();
  derivative.setZero();
  for (Index l = 0; l < depth_; ++l) {
    work.before.segment(l * size_, size_) = work.left;
    out.segment(l * size_, size_) = work.right;
    step(l);
  }
  product.setOnes();
  derivative.setZero();
  for (Index l = depth_; l-- > 0;) {
    auto entry = out.segment(l * size_, size_).array();
    entry = entry * product + work.before.segment(l * size_, size_).array() * derivative;
    step(l);
  }
}

void DeepDiagonalNetwork::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  auto work = scratch();
  coefficients(w, work->coefficients);
  apply(X, work->coefficients, out);
}

void DeepDiagonalNetwork::residual(const ConstVectorRef& w, VectorRef out) const {
  predict(w, train_.X, out);
  out -= train_.y;
}

double DeepDiagonalNetwork::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  residual(w, work->r);
  return 0.5 * scale() * work->r.squaredNorm();
}

void DeepDiagonalNetwork::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                           VectorRef out) const {
  auto work = scratch();
  residual(w, work->r);
  outer(work->r);
  apply_transposed(train_.X, work->r, work->coefficients);
  slopes(w, *work, work->slopes);
  for (Index l = 0; l < num_blocks(); ++l)
    out.segment(l * size_, size_) = work->slopes.segment(l * size_, size_).cwiseProduct(work->coefficients);
}

/// w, the slopes and g = c X^T r at one point.
class DeepDiagonalNetwork::At final : public Linearization {
 public:
  explicit At(const DeepDiagonalNetwork& model)
      : Linearization(model.num_params(), model.num_residuals()),
        model_(model),
        slopes_(model.num_params()),
        g_(model.size_) {}

  void refill(const ConstVectorRef& w) {
    auto work = model_.scratch();
    w_ = w;
    model_.slopes(w, *work, slopes_);
    model_.residual(w, work->r);
    apply_transposed(X(), work->r, g_, model_.scale());
  }

  void jvp(const ConstVectorRef& dw, VectorRef out) const override {
    auto work = model_.scratch();
    push(dw, work->coefficients);
    apply(X(), work->coefficients, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override {
    auto work = model_.scratch();
    apply_transposed(X(), q, work->coefficients);
    pull(work->coefficients, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    // The columns of J in the range are those of X, scaled.
    auto work = model_.scratch();
    Vector& scales = work->coefficients;
    scales.setZero();
    for (Index i = begin; i < end; ++i) scales[i % model_.size_] += slopes_[i] * slopes_[i];
    scales = scales.cwiseSqrt();
    work->scaled.noalias() = X() * scales.asDiagonal();
    row_gram(work->scaled, K);
  }

  void hvp(const ConstVectorRef& dw, VectorRef out) const override {
    const auto S = [this](VectorRef r) { r *= model_.scale(); };
    add_curvature(g_, std::ref(S), dw, out);
  }

  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& dw,
                   VectorRef out) const override {
    auto work = model_.scratch();
    apply_transposed(X(), g, work->coefficients);
    add_curvature(work->coefficients, S, dw, out);
  }

 private:
  const Matrix& X() const { return model_.train_.X; }

  /// out = J^T S J dw + g o (the derivative of the slopes along dw)
  void add_curvature(const Vector& g, const OnResiduals& S, const ConstVectorRef& dw, VectorRef out) const {
    auto work = model_.scratch();
    push(dw, work->coefficients);
    apply(X(), work->coefficients, work->r);
    S(work->r);
    apply_transposed(X(), work->r, work->coefficients);
    model_.bends(w_, dw, *work, work->slopes);
    for (Index l = 0; l < model_.num_blocks(); ++l) {
      const Index begin = l * model_.size_, D = model_.size_;
      out.segment(begin, D) = slopes_.segment(begin, D).cwiseProduct(work->coefficients) +
                              g.cwiseProduct(work->slopes.segment(begin, D));
    }
  }

  /// The derivative of the coefficients.
  void push(const ConstVectorRef& dw, Vector& out) const {
    const Index D = model_.size_;
    out.setZero();
    for (Index l = 0; l < model_.num_blocks(); ++l)
      out += slopes_.segment(l * D, D).cwiseProduct(dw.segment(l * D, D));
  }
  /// Its transpose.
  void pull(const Vector& coefficients, VectorRef out) const {
    const Index D = model_.size_;
    for (Index l = 0; l < model_.num_blocks(); ++l)
      out.segment(l * D, D) = slopes_.segment(l * D, D).cwiseProduct(coefficients);
  }

  const DeepDiagonalNetwork& model_;
  Vector w_, slopes_, g_;
};

void DeepDiagonalNetwork::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

/// sum_l sum_k D_lk^2 sum_i X_ik^2, whose gradient is twice the derivative of the slopes along themselves.
double DeepDiagonalNetwork::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  auto work = scratch();
  work->coefficients = train_.X.colwise().squaredNorm().transpose();
  slopes(w, *work, work->slopes);
  bends(w, work->slopes, *work, gradient);
  double trace = 0.0;
  for (Index l = 0; l < num_blocks(); ++l) {
    trace += work->coefficients.dot(work->slopes.segment(l * size_, size_).cwiseAbs2());
    gradient.segment(l * size_, size_).array() *= 2.0 * work->coefficients.array();
  }
  return trace;
}

}  // namespace grokflow
