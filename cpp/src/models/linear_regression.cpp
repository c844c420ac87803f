#include "grokflow/models/linear_regression.hpp"

#include <utility>

#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {

LinearRegression::LinearRegression(Samples train, std::optional<Samples> test)
    : Problem(train.X.cols(), train.X.rows(), train.scale), train_(std::move(train)), test_(std::move(test)) {
  require_sizes(train_, test_);
}

/// Twice through X, which is read from memory, and X X^T.
Cost LinearRegression::cost() const {
  const double n = static_cast<double>(num_residuals()), d = static_cast<double>(num_params());
  return {2.0 * apply_cost(n * d), n * n * d};
}

std::vector<Quantity> LinearRegression::quantities() const {
  auto quantities = Problem::quantities();
  append_test_loss(quantities, *this, test_);
  return quantities;
}

void LinearRegression::predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const {
  apply(X, w, out);
}

void LinearRegression::residual(const ConstVectorRef& w, VectorRef out) const {
  predict(w, train_.X, out);
  out -= train_.y;
}

WorkspacePool<Vector>::Lease LinearRegression::scratch() const {
  return pool_.borrow([this] { return std::make_unique<Vector>(num_residuals()); });
}

double LinearRegression::loss(const ConstVectorRef& w) const {
  auto r = scratch();
  residual(w, *r);
  return 0.5 * scale() * r->squaredNorm();
}

void LinearRegression::gradient(const ConstVectorRef& w, VectorRef out) const {
  auto r = scratch();
  residual(w, *r);
  apply_transposed(train_.X, *r, out, scale());
}

void LinearRegression::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                        VectorRef out) const {
  auto r = scratch();
  residual(w, *r);
  outer(*r);
  apply_transposed(train_.X, *r, out);
}

const Matrix& LinearRegression::kernel() const {
  std::call_once(kernel_once_, [this] {
    kernel_.resize(num_residuals(), num_residuals());
    row_gram(train_.X, kernel_);
  });
  return kernel_;
}

/// Nothing depends on w, so that it holds nothing but the problem.
class LinearRegression::At final : public Linearization {
 public:
  explicit At(const LinearRegression& model)
      : Linearization(model.num_params(), model.num_residuals()), model_(model) {}

  void jvp(const ConstVectorRef& v, VectorRef out) const override { apply(X(), v, out); }

  void vjp(const ConstVectorRef& u, VectorRef out) const override { apply_transposed(X(), u, out); }

  void gram(Index begin, Index end, MatrixRef K) const override {
    if (begin == 0 && end == num_params())
      K = model_.kernel();
    else
      row_gram(X().middleCols(begin, end - begin), K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    auto r = model_.scratch();
    jvp(v, *r);
    apply_transposed(X(), *r, out, model_.scale());
  }

  void hvp_through(const ConstVectorRef&, const OnResiduals& S, const ConstVectorRef& v,
                   VectorRef out) const override {
    auto r = model_.scratch();
    jvp(v, *r);
    S(*r);
    vjp(*r, out);
  }

  void hessian(MatrixRef H) const override { column_gram(X(), H, model_.scale()); }

 private:
  const Matrix& X() const { return model_.train_.X; }

  const LinearRegression& model_;
};

void LinearRegression::linearize(const ConstVectorRef&, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
}

double LinearRegression::kernel_trace(const ConstVectorRef&, VectorRef gradient) const {
  gradient.setZero();
  return train_.X.squaredNorm();
}

}  // namespace grokflow
