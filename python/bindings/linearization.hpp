// A linearisation as Python holds it.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "arrays.hpp"
#include "grokflow/problem.hpp"
#include "numerics/unit_vectors.hpp"

namespace grokflow {

/// A linearisation, together with the problem that it needs.
class HeldLinearization {
 public:
  HeldLinearization(std::shared_ptr<const Problem> problem, const ConstVectorRef& w)
      : problem_(std::move(problem)) {
    refill(w);
  }

  void refill(const ConstVectorRef& w) { problem_->linearize(w, lin_); }

  Vector jvp(const ConstVectorRef& v) const {
    Vector out(lin_->num_residuals());
    lin_->jvp(v, out);
    return out;
  }

  Vector vjp(const ConstVectorRef& u) const {
    Vector out(lin_->num_params());
    lin_->vjp(u, out);
    return out;
  }

  RowMajorMatrix jacobian() const {
    const Index n = lin_->num_residuals();
    RowMajorMatrix J(n, lin_->num_params());
    for_each_unit(n, [&](Index i, const Vector& unit) { lin_->vjp(unit, J.row(i).transpose()); });
    return J;
  }

  Matrix gram(Index begin, std::optional<Index> end) const {
    Matrix K(lin_->num_residuals(), lin_->num_residuals());
    lin_->gram(begin, end.value_or(lin_->num_params()), K);
    return K;
  }

  Vector hvp(const ConstVectorRef& v) const {
    Vector out(lin_->num_params());
    lin_->hvp(v, out);
    return out;
  }

  Matrix hessian() const {
    Matrix H(lin_->num_params(), lin_->num_params());
    lin_->hessian(H);
    return H;
  }

 private:
  std::shared_ptr<const Problem> problem_;
  std::unique_ptr<Linearization> lin_;
};

}  // namespace grokflow
