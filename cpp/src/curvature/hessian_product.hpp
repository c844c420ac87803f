// Products with the Hessian of any problem.
#pragma once

#include "grokflow/problem.hpp"

namespace grokflow {

/// Hess F v at one point: by the problem if it offers it; else, for residuals, the Gauss-Newton part and
///
///   c sum_i r_i Hess r_i v = c (J(w + e v) - J(w))^T r / e,
///
/// r as it is at w, so that only this part, small beside the other near M, has the error of the difference.
/// It costs a linearisation and a product with J^T.
class HessianProduct {
 public:
  HessianProduct(const Problem& problem, Stats& stats) : problem_(problem), stats_(stats) {}

  /// At w, where `lin` has been frozen.
  void begin(const ConstVectorRef& w, const Linearization& lin) {
    w_ = w;
    lin_ = &lin;
    fresh_ = true;
  }

  void apply(const ConstVectorRef& v, VectorRef out);
  /// out += c sum_i r_i Hess r_i v
  void add_residual_part(const ConstVectorRef& v, VectorRef out);
  /// H, whose Gauss-Newton part c J^T J is given, is made the whole Hessian.
  void complete(MatrixRef H);

 private:
  const Problem& problem_;
  Stats& stats_;
  const Linearization* lin_ = nullptr;
  bool fresh_ = true;  // the pull of the residual at w is not known yet
  Vector w_, rows_, residual_, pull_, beside_, image_;
  Matrix part_;  // of the residual, if a whole H is asked for
  std::unique_ptr<Linearization> lin_beside_;
};

}  // namespace grokflow
