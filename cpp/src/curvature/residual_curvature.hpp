#pragma once

#include "grokflow/problem.hpp"

namespace grokflow {

/// The curvature of the residuals at one point, weighted by g,
///
///   sum_i g_i Hess r_i v = (J(w + e v) - J(w))^T g / e,
///
/// g as it is at w, so that only this part, small beside the other where g is, has the error of the difference.
class ResidualCurvature {
 public:
  /// At w, where `lin` has been frozen. Takes a product with J^T.
  void begin(const ConstVectorRef& w, const Linearization& lin, const ConstVectorRef& g);
  /// out += sum_i g_i Hess r_i v, by a linearisation and a product with J^T. False if v is 0 or not finite.
  bool add(const Problem& problem, const ConstVectorRef& v, VectorRef out);

 private:
  Vector w_, g_, pull_, beside_, image_;
  std::unique_ptr<Linearization> lin_beside_;
};

}  // namespace grokflow
