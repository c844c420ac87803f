// Activation functions with their first two derivatives, over contiguous arrays.
//
// The kernels are branch-free polynomials, which GCC and Clang vectorise for SSE2, AVX2 or any other set:
// tanh is within 1.2 units in the last place on the whole line, erf, softplus and sigmoid within 3. With AVX2
// tanh takes a tenth of the time of std::tanh, with SSE2 a third; the derivatives share its exponential and
// are nearly free. nan stays nan, the limits at +-infinity are exact, and a result depends on its entry
// alone, not on where in the array it stands.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// An activation: its kind, and the parameter that two of them carry, or the coefficients of a polynomial.
struct Activation {
  enum Kind {
    tanh,
    erf,
    softplus,   ///< log(1 + exp z)
    gelu,       ///< z Phi(z), Phi the normal distribution function
    sigmoid,    ///< 1 / (1 + exp(-z))
    quadratic,  ///< z^2
    identity,
    relu,         ///< max(z, 0)
    leaky_relu,   ///< z above 0, parameter * z below
    abs,          ///< |z|
    smooth_relu,  ///< parameter * log(1 + exp(z / parameter)): relu over a width, above it by at most ln 2
                  ///< widths
    polynomial,   ///< sum_i coefficients_i z^i
  };
  /// Slopes on both sides of 0.
  struct Slopes {
    double below, above;
  };

  /// Throws std::invalid_argument for a parameter that is not finite, no width of smooth_relu, or a polynomial.
  Activation(Kind kind, double parameter = 0.0);
  /// A polynomial, by increasing powers. Throws std::invalid_argument without a coefficient, or for one that is not
  /// finite.
  explicit Activation(std::vector<double> coefficients);

  /// The slopes of an activation that is linear on each side of 0 and has a kink there; else nothing. At 0
  /// `activate` takes the slope below as the derivative, and 0 as the second derivative everywhere.
  std::optional<Slopes> slopes() const;

  Kind kind;
  double parameter = 0.0;
  std::vector<double> coefficients;  ///< of which the last is not 0, unless it is the only one
};

/// The names that `activation_by_name` knows, in the order of the kinds.
const std::vector<std::string>& activation_names();

/// Throws std::invalid_argument for an unknown name, and as the constructors do.
Activation activation_by_name(const std::string& name, double parameter = 0.0);

/// a = act(z), entry by entry. `a` may be `z`.
void activate(const Activation& activation, const double* z, Index size, double* a);
/// ... and a1 = act'(z).
void activate(const Activation& activation, const double* z, Index size, double* a, double* a1);
/// ... and a2 = act''(z).
void activate(const Activation& activation, const double* z, Index size, double* a, double* a1, double* a2);

}  // namespace grokflow
