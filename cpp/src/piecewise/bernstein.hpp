// Polynomials on [0, 1] by their Bernstein coefficients, between the least and the largest of which they lie.
#pragma once

#include <array>
#include <cmath>

#include "grokflow/types.hpp"

namespace grokflow {

/// The coefficients of a polynomial of a degree up to 5.
using Bernstein = std::array<double, 6>;

/// B_i(x) of this degree, i = 0, 1, ...
inline Vector bernstein_basis(int degree, double x) {
  Vector basis(degree + 1);
  double binomial = 1.0;
  for (int i = 0; i <= degree; ++i) {
    basis[i] = binomial * std::pow(x, i) * std::pow(1.0 - x, degree - i);
    binomial *= static_cast<double>(degree - i) / (i + 1);
  }
  return basis;
}

/// The first x in [begin, end] where a polynomial, given by its coefficients there, is not positive; 2 if
/// there is none. By de Casteljau's bisection.
inline double first_zero(const Bernstein& b, int degree, double begin = 0.0, double end = 1.0) {
  bool positive = true;
  for (int i = 0; i <= degree; ++i) positive = positive && b[i] > 0.0;
  if (positive) return 2.0;
  if (b[0] <= 0.0) return begin;
  if (end - begin <= 1e-14) return b[degree] <= 0.0 ? end : 2.0;
  Bernstein left, right = b;
  for (int k = 0; k <= degree; ++k) {
    left[k] = right[0];
    for (int i = 0; i < degree - k; ++i) right[i] = 0.5 * (right[i] + right[i + 1]);
  }
  const double middle = 0.5 * (begin + end);
  const double x = first_zero(left, degree, begin, middle);
  return x <= 1.0 ? x : first_zero(right, degree, middle, end);
}

}  // namespace grokflow
