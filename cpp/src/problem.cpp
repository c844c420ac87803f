#include "grokflow/problem.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "linearized.hpp"
#include "numerics/unit_vectors.hpp"

namespace grokflow {

Index Block::size() const {
  Index product = 1;
  for (Index extent : shape) product *= extent;
  return product;
}

Linearization::Linearization(Index num_params, Index num_residuals)
    : num_params_(num_params), num_residuals_(num_residuals) {}

void Linearization::jvp(const ConstVectorRef&, VectorRef) const {
  throw std::logic_error("no product J v: a problem with residuals overrides Linearization::jvp");
}

void Linearization::vjp(const ConstVectorRef&, VectorRef) const {
  throw std::logic_error("no product J^T u: a problem with residuals overrides Linearization::vjp");
}

void Linearization::jvp_slants(const Decay::Slants& slants, MatrixRef out) const {
  Vector v = Vector::Zero(num_params_);
  for (std::size_t k = 0; k < slants.size(); ++k) {
    Index entry = 0;
    for (const Decay::Range& range : slants[k].where)
      for (Index i = range.begin; i < range.end; ++i) v[i] = slants[k].e[entry++];
    jvp(v, out.col(static_cast<Index>(k)));
    for (const Decay::Range& range : slants[k].where)
      v.segment(range.begin, range.end - range.begin).setZero();
    check();
  }
}

void Linearization::gram(Index begin, Index end, MatrixRef K) const {
  Vector row(num_params_);
  for_each_unit(num_residuals_, [&](Index i, const ConstVectorRef& unit) {
    check();
    vjp(unit, row);
    row.head(begin).setZero();
    row.tail(num_params_ - end).setZero();
    jvp(row, K.col(i));
  });
}

void Linearization::hvp(const ConstVectorRef&, VectorRef) const {
  throw std::logic_error("this problem offers no Hessian-vector product");
}

bool Linearization::solve(const ConstVectorRef&, double, double, VectorRef) const {
  throw std::logic_error("this problem does not solve for itself");
}

void Linearization::hessian(MatrixRef H) const {
  for_each_unit(num_params_, [&](Index i, const ConstVectorRef& unit) {
    check();
    hvp(unit, H.col(i));
  });
}

bool Linearization::residual_hvp(const ConstVectorRef&, VectorRef) const { return false; }

void Linearization::hvp_through(const ConstVectorRef&, const OnResiduals&, const ConstVectorRef&,
                                VectorRef) const {
  throw std::logic_error("this problem offers no second derivatives of its residuals");
}

Problem::Problem(Index num_params, Index num_residuals, double scale)
    : num_params_(num_params), num_residuals_(num_residuals), scale_(scale) {
  if (num_params < 1) throw std::invalid_argument("a problem needs at least one parameter");
  if (num_residuals < 0) throw std::invalid_argument("the number of residuals is negative");
  if (!(scale > 0.0 && std::isfinite(scale)))
    throw std::invalid_argument("scale must be positive and finite");
}

void Problem::residual(const ConstVectorRef&, VectorRef) const {
  throw std::logic_error("this problem has no residuals");
}

double Problem::loss(const ConstVectorRef& w) const {
  Vector r(num_residuals_);
  residual(w, r);
  return 0.5 * scale_ * r.squaredNorm();
}

void Problem::gradient(const ConstVectorRef& w, VectorRef out) const {
  gradient_through(w, [this](VectorRef r) { r *= scale_; }, out);
}

void Problem::gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const {
  Vector r(num_residuals_);
  residual(w, r);
  std::unique_ptr<Linearization> lin;
  const Linearization& at = linearized(*this, w, lin);
  outer(r);
  at.vjp(r, out);
}

Cost Problem::cost() const {
  const double n = static_cast<double>(num_residuals_), d = static_cast<double>(num_params_);
  if (n == 0.0) return {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  return {6.0 * n * d, n * 6.0 * n * d};
}

double Problem::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  std::unique_ptr<Linearization> here, beside;
  linearize(w, here);
  Vector row(num_params_), point(num_params_), image(num_params_);
  const double reach = std::cbrt(std::numeric_limits<double>::epsilon()) * std::max(1.0, w.stableNorm());
  double trace = 0.0;
  gradient.setZero();
  for_each_unit(num_residuals_, [&](Index, const ConstVectorRef& unit) {
    here->vjp(unit, row);
    const double norm = row.stableNorm();
    trace += norm * norm;
    // Hess r_i grad r_i is the derivative of grad r_i along itself.
    for (const double side : {1.0, -1.0}) {
      if (norm == 0.0) break;
      point = w + (side * reach / norm) * row;
      linearize(point, beside);
      beside->vjp(unit, image);
      gradient += (side * norm / reach) * image;
    }
  });
  return trace;
}

bool Linearization::gradient(VectorRef out) const {
  const Vector* g = scaled_residual();
  if (g != nullptr) vjp(*g, out);
  return g != nullptr;
}

std::vector<Block> Problem::blocks() const { return {{"w", 0, {num_params_}}}; }

std::vector<Quantity> Problem::quantities() const {
  const auto gradient_norm = [this, g = Vector(num_params_)](const ConstVectorRef& w, VectorRef out) mutable {
    gradient(w, g);
    out[0] = g.stableNorm();
  };
  return {
      {"train_loss", 0, [this](const ConstVectorRef& w, VectorRef out) { out[0] = loss(w); }},
      {"norm", 0, [](const ConstVectorRef& w, VectorRef out) { out[0] = w.stableNorm(); }},
      {"grad_norm", 0, gradient_norm},
  };
}

}  // namespace grokflow
