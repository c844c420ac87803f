#include "curvature/hessian_product.hpp"

#include "numerics/unit_vectors.hpp"

namespace grokflow {

bool HessianProduct::apply(const ConstVectorRef& v, VectorRef out) {
  lin_->check();
  if (problem_.has_hvp()) {
    lin_->hvp(v, out);
    ++stats_.nhvp;
    return true;
  }
  rows_.resize(problem_.num_residuals());
  lin_->jvp(v, rows_);
  rows_ *= problem_.scale();
  lin_->vjp(rows_, out);
  ++stats_.njvp, ++stats_.nvjp;
  add_residual_part(v, out);
  return true;
}

bool HessianProduct::apply_residual_part(const ConstVectorRef& v, VectorRef out) {
  lin_->check();
  if (!lin_->residual_hvp(v, out)) return false;
  ++stats_.nhvp;
  return true;
}

void HessianProduct::add_residual_part(const ConstVectorRef& v, VectorRef out) {
  if (fresh_) {
    rows_.resize(problem_.num_residuals());
    problem_.residual(w_, rows_);
    rows_ *= problem_.scale();
    residuals_.begin(w_, *lin_, rows_);
    ++stats_.nvjp;
    fresh_ = false;
  }
  if (residuals_.add(problem_, v, out)) ++stats_.nlinearize, ++stats_.nvjp;
}

void HessianProduct::complete(MatrixRef H) {
  part_.setZero(H.rows(), H.cols());
  for_each_unit(H.cols(), [&](Index i, const ConstVectorRef& unit) {
    lin_->check();
    add_residual_part(unit, part_.col(i));
  });
  H += 0.5 * part_;
  H += 0.5 * part_.transpose();
}

}  // namespace grokflow
