#include "curvature/hessian_product.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "numerics/unit_vectors.hpp"

namespace grokflow {

void HessianProduct::apply(const ConstVectorRef& v, VectorRef out) {
  lin_->check();
  if (problem_.has_hvp()) {
    lin_->hvp(v, out);
    ++stats_.nhvp;
    return;
  }
  rows_.resize(problem_.num_residuals());
  lin_->jvp(v, rows_);
  rows_ *= problem_.scale();
  lin_->vjp(rows_, out);
  ++stats_.njvp, ++stats_.nvjp;
  add_residual_part(v, out);
}

void HessianProduct::add_residual_part(const ConstVectorRef& v, VectorRef out) {
  const double size = v.stableNorm();
  if (!(size > 0.0) || !std::isfinite(size)) return;
  if (fresh_) {
    residual_.resize(problem_.num_residuals());
    pull_.resize(w_.size());
    image_.resize(w_.size());
    problem_.residual(w_, residual_);
    residual_ *= problem_.scale();
    lin_->vjp(residual_, pull_);
    ++stats_.nvjp;
    fresh_ = false;
  }
  // Relative to the weights that move: they may differ in scale.
  const double reach = std::sqrt(std::numeric_limits<double>::epsilon());
  double step = std::max(v.cwiseProduct(w_).stableNorm() / size, 1e-4 * w_.stableNorm());
  if (step == 0.0) step = 1.0;
  step *= reach / size;
  beside_ = w_ + step * v;
  problem_.linearize(beside_, lin_beside_);
  lin_beside_->vjp(residual_, image_);
  ++stats_.nlinearize, ++stats_.nvjp;
  out += (image_ - pull_) / step;
}

void HessianProduct::complete(MatrixRef H) {
  part_.setZero(H.rows(), H.cols());
  for_each_unit(H.cols(), [&](Index i, const Vector& unit) {
    lin_->check();
    add_residual_part(unit, part_.col(i));
  });
  H += 0.5 * part_;
  H += 0.5 * part_.transpose();
}

}  // namespace grokflow
