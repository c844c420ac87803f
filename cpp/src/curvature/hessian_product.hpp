// Products with the Hessian of any problem.
#pragma once

#include "curvature/residual_curvature.hpp"

namespace grokflow {

/// Hess F v at one point: by the problem if it offers it; else, for residuals, the Gauss-Newton part and the
/// curvature of the residuals, c r their weights.
class HessianProduct {
 public:
  HessianProduct(const Problem& problem, Stats& stats) : problem_(problem), stats_(stats) {}

  /// At w, where `lin` has been frozen.
  void begin(const ConstVectorRef& w, const Linearization& lin) {
    if (!problem_.has_hvp()) w_ = w;
    lin_ = &lin;
    fresh_ = true;
  }

  bool apply(const ConstVectorRef& v, VectorRef out);
  /// out = c sum_i r_i Hess r_i v, by the problem. False if it does not spare a product.
  bool apply_residual_part(const ConstVectorRef& v, VectorRef out);
  /// out += c sum_i r_i Hess r_i v
  void add_residual_part(const ConstVectorRef& v, VectorRef out);
  /// H, whose Gauss-Newton part c J^T J is given, is made the whole Hessian.
  void complete(MatrixRef H);

 private:
  const Problem& problem_;
  Stats& stats_;
  const Linearization* lin_ = nullptr;
  bool fresh_ = true;  // the curvature of the residuals has not begun at w
  Vector w_, rows_;
  ResidualCurvature residuals_;
  Matrix part_;  // of the residual, if a whole H is asked for
};

}  // namespace grokflow
