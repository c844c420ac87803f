// The dominant eigenvalue of a symmetric operator, followed from one operator to the next.
#pragma once

#include <cmath>

#include "grokflow/types.hpp"

namespace grokflow {

constexpr int kPowerSteps = 60;
constexpr double kRoughly = 0.1;  // accuracy of a norm that only a bound is compared with

/// The modulus of the largest eigenvalue of A from below: ||A x|| for a unit vector x that is replaced by A x
/// until that grows by less than `accuracy`. `x` is where it begins and ends, so that the next operator in
/// the neighbourhood takes a step or two. A little `noise` is mixed in first: the eigenvector sought may have
/// changed places with another. `apply(x, image)` gives A x.
template <class Apply>
double dominant_eigenvalue(Apply&& apply, const Vector& noise, Vector& x, Vector& image,
                           double accuracy = kRoughly) {
  x += 0.03 * noise;
  x.normalize();
  double value = 0.0;
  for (int i = 0; i < kPowerSteps; ++i) {
    apply(x, image);
    const double last = value;
    value = image.norm();
    if (!(value > 0.0) || !std::isfinite(value)) break;
    x = image / value;
    if (i > 1 && std::abs(value - last) <= accuracy * value) break;
  }
  return value;
}

/// The largest modulus of a rate of the vector field `f` at w, from below, by differences of `f(w, out)`;
/// `x` is where the search begins.
template <class Field>
double fastest_rate(Field&& f, const ConstVectorRef& w, Vector x) {
  const double norm = w.stableNorm(), part = 1e-7 * (norm > 0.0 ? norm : 1.0);
  Vector here(w.size()), image(w.size()), point(w.size());
  f(w, here);
  const Vector noise = x;
  const auto apply = [&](const Vector& direction, Vector& out) {
    point = w + part * direction;
    f(point, out);
    out = (out - here) / part;
  };
  return dominant_eigenvalue(apply, noise, x, image);
}

}  // namespace grokflow
