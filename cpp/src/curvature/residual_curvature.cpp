#include "curvature/residual_curvature.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace grokflow {

void ResidualCurvature::begin(const ConstVectorRef& w, const Linearization& lin, const ConstVectorRef& g) {
  w_ = w;
  g_ = g;
  pull_.resize(w.size());
  image_.resize(w.size());
  lin.vjp(g_, pull_);
}

bool ResidualCurvature::add(const Problem& problem, const ConstVectorRef& v, VectorRef out) {
  const double size = v.stableNorm();
  if (!(size > 0.0) || !std::isfinite(size)) return false;
  // Relative to the weights that move: they may differ in scale.
  const double reach = std::sqrt(std::numeric_limits<double>::epsilon());
  double step = std::max(v.cwiseProduct(w_).stableNorm() / size, 1e-4 * w_.stableNorm());
  if (step == 0.0) step = 1.0;
  step *= reach / size;
  beside_ = w_ + step * v;
  problem.linearize(beside_, lin_beside_);
  lin_beside_->vjp(g_, image_);
  out += (image_ - pull_) / step;
  return true;
}

}  // namespace grokflow
