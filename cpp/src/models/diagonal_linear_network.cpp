#include "grokflow/models/diagonal_linear_network.hpp"

#include <cmath>
#include <utility>

#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {

DiagonalLinearNetwork::DiagonalLinearNetwork(Samples train, std::optional<Samples> test)
    : Problem(2 * train.X.cols(), train.X.rows(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      size_(train_.X.cols()) {
  require_sizes(train_, test_);
}

/// Twice through X, and X diag(u^2 + v^2) X^T.
Cost DiagonalLinearNetwork::cost() const {
  const double n = static_cast<double>(num_residuals()), D = static_cast<double>(size_);
  return {2.0 * apply_cost(n * D), 2.0 * n * n * D};
}

std::vector<Block> DiagonalLinearNetwork::blocks() const {
  return {{"u", 0, {size_}}, {"v", size_, {size_}}};
}

std::vector<Quantity> DiagonalLinearNetwork::quantities() const {
  auto quantities = Problem::quantities();
  append_test_loss(quantities, *this, test_);
  quantities.push_back({"coefficients", size_, [D = size_](const ConstVectorRef& w, VectorRef out) {
                          out = w.head(D).cwiseProduct(w.tail(D));
                        }});
  return quantities;
}

WorkspacePool<DiagonalLinearNetwork::Scratch>::Lease DiagonalLinearNetwork::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->coefficients.resize(size_);
    fresh->r.resize(num_residuals());
    return fresh;
  });
}

void DiagonalLinearNetwork::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  auto work = scratch();
  work->coefficients = w.head(size_).cwiseProduct(w.tail(size_));
  apply(X, work->coefficients, out);
}

void DiagonalLinearNetwork::residual(const ConstVectorRef& w, VectorRef out) const {
  predict(w, train_.X, out);
  out -= train_.y;
}

double DiagonalLinearNetwork::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  residual(w, work->r);
  return 0.5 * scale() * work->r.squaredNorm();
}

void DiagonalLinearNetwork::gradient(const ConstVectorRef& w, VectorRef out) const {
  auto work = scratch();
  residual(w, work->r);
  pull_back(work->r, scale(), w, work->coefficients, out);
}

void DiagonalLinearNetwork::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                             VectorRef out) const {
  auto work = scratch();
  residual(w, work->r);
  outer(work->r);
  pull_back(work->r, 1.0, w, work->coefficients, out);
}

void DiagonalLinearNetwork::pull_back(const Vector& q, double factor, const ConstVectorRef& w, Vector& g,
                                      VectorRef out) const {
  apply_transposed(train_.X, q, g, factor);
  out.head(size_) = g.cwiseProduct(w.tail(size_));
  out.tail(size_) = g.cwiseProduct(w.head(size_));
}

/// u, v and g = c X^T r at one point.
class DiagonalLinearNetwork::At final : public Linearization {
 public:
  explicit At(const DiagonalLinearNetwork& model)
      : Linearization(model.num_params(), model.num_residuals()), model_(model) {}

  void refill(const ConstVectorRef& w) {
    auto work = model_.scratch();
    u_ = w.head(size());
    v_ = w.tail(size());
    model_.residual(w, work->r);
    g_.resize(size());
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
    // The columns of J in the range are those of X, scaled: K = X diag(s^2) X^T.
    auto work = model_.scratch();
    Vector& scales = work->coefficients;
    for (Index k = 0; k < size(); ++k) {
      const bool has_u = begin <= k && k < end, has_v = begin <= size() + k && size() + k < end;
      scales[k] = std::sqrt((has_u ? v_[k] * v_[k] : 0.0) + (has_v ? u_[k] * u_[k] : 0.0));
    }
    work->scaled.noalias() = X() * scales.asDiagonal();
    row_gram(work->scaled, K);
  }

  void hvp(const ConstVectorRef& dw, VectorRef out) const override {
    auto work = model_.scratch();
    push(dw, work->coefficients);
    apply(X(), work->coefficients, work->r);
    apply_transposed(X(), work->r, work->coefficients, model_.scale());
    pull(work->coefficients, out);
    out.head(size()) += g_.cwiseProduct(dw.tail(size()));
    out.tail(size()) += g_.cwiseProduct(dw.head(size()));
  }

  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& dw,
                   VectorRef out) const override {
    auto work = model_.scratch();
    push(dw, work->coefficients);
    apply(X(), work->coefficients, work->r);
    S(work->r);
    apply_transposed(X(), work->r, work->coefficients);
    pull(work->coefficients, out);
    apply_transposed(X(), g, work->coefficients);
    out.head(size()) += work->coefficients.cwiseProduct(dw.tail(size()));
    out.tail(size()) += work->coefficients.cwiseProduct(dw.head(size()));
  }

  void hessian(MatrixRef H) const override {
    const Index D = size();
    auto vv = H.bottomRightCorner(D, D);
    column_gram(X(), vv, model_.scale());
    H.topLeftCorner(D, D) = v_.asDiagonal() * vv * v_.asDiagonal();
    H.topRightCorner(D, D) = v_.asDiagonal() * vv * u_.asDiagonal();
    H.topRightCorner(D, D).diagonal() += g_;
    H.bottomLeftCorner(D, D) = H.topRightCorner(D, D).transpose();
    vv = u_.asDiagonal() * vv * u_.asDiagonal();
  }

 private:
  const Matrix& X() const { return model_.train_.X; }
  Index size() const { return model_.size_; }

  /// The derivative of u o v.
  void push(const ConstVectorRef& dw, Vector& out) const {
    out = v_.cwiseProduct(dw.head(size())) + u_.cwiseProduct(dw.tail(size()));
  }
  /// Its transpose.
  void pull(const Vector& coefficients, VectorRef out) const {
    out.head(size()) = v_.cwiseProduct(coefficients);
    out.tail(size()) = u_.cwiseProduct(coefficients);
  }

  const DiagonalLinearNetwork& model_;
  Vector u_, v_, g_;
};

void DiagonalLinearNetwork::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

/// sum_k (u_k^2 + v_k^2) sum_i X_ik^2
double DiagonalLinearNetwork::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  auto work = scratch();
  work->coefficients = train_.X.colwise().squaredNorm().transpose();
  gradient.head(size_) = work->coefficients.cwiseProduct(w.head(size_));
  gradient.tail(size_) = work->coefficients.cwiseProduct(w.tail(size_));
  const double trace = gradient.dot(w);
  gradient *= 2.0;
  return trace;
}

}  // namespace grokflow
