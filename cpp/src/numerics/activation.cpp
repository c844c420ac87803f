#include "grokflow/activation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace grokflow {
namespace {

/// act, act' and act'' at one point; what the caller does not use is never computed.
struct Jet {
  double value, first, second;
};

/// sum_i c_i x^i, the even and the odd terms by Horner's scheme side by side.
template <std::size_t N>
inline double polynomial(const double (&c)[N], double x) {
  const double square = x * x;
  double last = c[N - 1], second_last = c[N - 2];
  for (std::size_t i = N - 1; i >= 3; i -= 2) {
    last = last * square + c[i - 2];
    second_last = second_last * square + c[i - 3];
  }
  if (N % 2 == 0) return last * x + second_last;
  return (last * square + c[0]) + second_last * x;
}

/// exp(y) = two_k * (1 + minus_one), with y = k ln 2 + r, |r| <= ln(2)/2, for |y| < 708.
struct Exponential {
  double two_k, minus_one;
};

inline Exponential exponential(double y) {
  constexpr double log2_e = 1.4426950408889634;
  constexpr double ln2_high = 6.93147180369123816490e-01;  // 32 bits, so that k * ln2_high is exact
  constexpr double ln2_low = 1.90821492927058770002e-10;
  constexpr double round = 0x1.8p52;  // adding it leaves the integer k in the low bits
  // (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2 to 2.3e-16
  constexpr double c[] = {0.50000000000000011,    0.16666666666666669,    0.041666666666624164,
                          0.008333333333330065,   0.0013888888917197209,  0.00019841269863040922,
                          2.4801521321606647e-05, 2.7557268479724004e-06, 2.7620076242527254e-07,
                          2.5100376111361421e-08};
  const double shifted = y * log2_e + round;
  const double k = shifted - round;
  const double r = (y - k * ln2_high) - k * ln2_low;
  std::uint64_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  double two_k;
  std::memcpy(&two_k, &bits, sizeof bits);
  return {two_k, r + r * r * polynomial(c, r)};
}

/// exp(y) for y <= 0; 0 below the normal numbers.
inline double exp_negative(double y) {
  const Exponential e = exponential(y < -708.0 ? -708.0 : y);
  return y < -708.0 ? 0.0 : e.two_k + e.two_k * e.minus_one;
}

struct Tanh {
  inline Jet at(double z) const {
    // x + x^3 P(x^2) / Q(x^2) near 0, 1 - 2 / (exp(2 x) + 1) beyond: one division serves both. P and Q
    // are Cephes'.
    constexpr double P[] = {-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1};
    constexpr double Q[] = {4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2,
                            1.0};
    const double size = std::fabs(z);
    const double x = size > 20.0 ? 20.0 : size;  // tanh(20) rounds to 1
    const double square = x * x;
    const Exponential e = exponential(2.0 * x);
    const bool near = x < 0.625;
    const double numerator = near ? x * square * polynomial(P, square) : -2.0;
    const double denominator = near ? polynomial(Q, square) : e.two_k * e.minus_one + (e.two_k + 1.0);
    const double a = std::copysign((near ? x : 1.0) + numerator / denominator, z);
    const double a1 = 1.0 - a * a;
    return {a, a1, -2.0 * a * a1};
  }
};

/// erf(x) for 0 <= x < 1, erfc(x) beyond, and exp(-x^2) for both, for x >= 0.
struct ErrorFunction {
  double near, tail, gauss;
};

inline ErrorFunction error_function(double x) {
  // (erf(x)/x - 2/sqrt(pi)) / x^2 in x^2 <= 1 to 1.6e-16
  constexpr double near[] = {-0.37612638903183748,    0.11283791670954388,    -0.026866170644835378,
                             0.005223977620813342,    -0.0008548326651491142, 0.00012055315509827725,
                             -1.4925137231361603e-05, 1.6452392414414235e-06, -1.6246587957259629e-07,
                             1.3884625209147687e-08,  -8.1018695496609516e-10};
  // erfc(x) exp(x^2) in t = (x - 3)/(x + 3), 1 <= x <= 6, to 2.2e-16; beyond, erfc(x) < 3e-17
  constexpr double tail[] = {0.17900115118138996,     -0.32623356004303716,   0.24560380171233195,
                             -0.15011593650078744,    0.071665837197748744,   -0.024392499318273194,
                             0.0042691363475082563,   0.00070774644439015378, -0.00059706235170932842,
                             4.5254726354833543e-05,  6.4061820735305465e-05, -1.2848894512523529e-05,
                             -8.0080213194126848e-06, 2.0236031796417568e-06, 1.2801900862962662e-06};
  const double square = x * x;
  const double gauss = exp_negative(-square);
  const double within = x > 6.0 ? 6.0 : x;
  const double t = (within - 3.0) / (within + 3.0);
  const double slope = 1.1283791670955126;  // 2 / sqrt(pi)
  return {x * slope + x * (square * polynomial(near, square)), gauss * polynomial(tail, t), gauss};
}

struct Erf {
  inline Jet at(double z) const {
    const double x = std::fabs(z);
    const ErrorFunction e = error_function(x);
    const double a1 = 1.1283791670955126 * e.gauss;
    const double clamped = x > 30.0 ? std::copysign(30.0, z) : z;  // 0 * inf is nan
    return {std::copysign(x < 1.0 ? e.near : 1.0 - e.tail, z), a1, -2.0 * clamped * a1};
  }
};

struct Gelu {
  inline Jet at(double z) const {
    const double x = std::fabs(z) * 0.70710678118654752;  // Phi(z) = erfc(-z / sqrt 2) / 2
    const ErrorFunction e = error_function(x);
    const double lower = 0.5 * (x < 1.0 ? 1.0 - e.near : e.tail);
    const double phi = 0.39894228040143268 * e.gauss;
    const double Phi = z < 0.0 ? lower : 1.0 - lower;
    const double floored = z < -40.0 ? -40.0 : z;  // Phi(-40) underflows; 0 * inf is nan
    const double clamped = floored > 40.0 ? 40.0 : floored;
    return {floored * Phi, Phi + clamped * phi, phi * (2.0 - clamped * clamped)};
  }
};

/// width log(1 + exp(z / width))
struct Softplus {
  double width, inverse_width;
  explicit Softplus(double width) : width(width), inverse_width(1.0 / width) {}

  inline Jet at(double z) const {
    // 2 atanh(s) = 2 s + s^3 q(s^2), q on s^2 <= 1/9 to 1.9e-16
    constexpr double q[] = {0.66666666666666663, 0.40000000000014585, 0.28571428567108759,
                            0.22222222717427864, 0.18181789436132859, 0.15385570064958623,
                            0.13314144209654935, 0.12001072809590713, 0.088007384861446741,
                            0.16164045611943531};
    const double t = exp_negative(-std::fabs(z * inverse_width));
    const double s = t / (2.0 + t);  // log(1 + t) = 2 atanh(s)
    const double log1p = 2.0 * s + s * (s * s * polynomial(q, s * s));
    const double inverse = 1.0 / (1.0 + t);
    return {(z > 0.0 ? z : 0.0) + width * log1p, z < 0.0 ? t * inverse : inverse,
            t * inverse * inverse * inverse_width};
  }
};

struct Sigmoid {
  inline Jet at(double z) const {
    const double t = exp_negative(-std::fabs(z));
    const double inverse = 1.0 / (1.0 + t);
    const double a1 = t * inverse * inverse;
    return {z < 0.0 ? t * inverse : inverse, a1, std::copysign(a1 * (1.0 - t) * inverse, -z)};
  }
};

struct Quadratic {
  inline Jet at(double z) const { return {z * z, 2.0 * z, 2.0}; }
};

struct Identity {
  inline Jet at(double z) const { return {z, 1.0, 0.0}; }
};

struct Relu {
  inline Jet at(double z) const { return {z < 0.0 ? 0.0 : z, z > 0.0 ? 1.0 : 0.0, 0.0}; }
};

struct LeakyRelu {
  double below;  // not 0: 0 * -inf is nan
  inline Jet at(double z) const { return {z < 0.0 ? below * z : z, z > 0.0 ? 1.0 : below, 0.0}; }
};

struct Abs {
  inline Jet at(double z) const { return {std::fabs(z), z > 0.0 ? 1.0 : -1.0, 0.0}; }
};

struct Polynomial {
  const double* coefficients;
  Index degree;

  /// out_i = its derivative at z_i of this order.
  void evaluate(int order, const double* z, Index size, double* __restrict out) const {
    const auto coefficient = [&](Index power) {  // of what the derivative makes of that power
      double c = coefficients[power];
      for (int k = 0; k < order; ++k) c *= static_cast<double>(power - k);
      return c;
    };
    std::fill_n(out, size, degree < order ? 0.0 : coefficient(degree));
    for (Index power = degree - 1; power >= order; --power) {
      const double c = coefficient(power);
      for (Index i = 0; i < size; ++i) out[i] = out[i] * z[i] + c;
    }
  }
};

/// Entries per pass. With a fixed trip count the loop has no scalar remainder, so bits do not depend on
/// position.
constexpr Index kBlock = 64;

template <int Order, class Function>
inline void block(Function function, const double* z, double* __restrict a, double* __restrict a1,
                  double* __restrict a2) {
  double in[kBlock];  // a may be z: after this copy nothing aliases, and the loop vectorises
  std::copy_n(z, kBlock, in);
  for (Index i = 0; i < kBlock; ++i) {
    const Jet jet = function.at(in[i]);
    a[i] = jet.value;
    if (Order > 0) a1[i] = jet.first;
    if (Order > 1) a2[i] = jet.second;
  }
}

template <int Order>
inline void block(Polynomial function, const double* z, double* __restrict a, double* __restrict a1,
                  double* __restrict a2) {
  double in[kBlock];
  std::copy_n(z, kBlock, in);
  function.evaluate(0, in, kBlock, a);
  if (Order > 0) function.evaluate(1, in, kBlock, a1);
  if (Order > 1) function.evaluate(2, in, kBlock, a2);
}

template <int Order, class Function>
void evaluate(Function function, const double* z, Index size, double* a, double* a1, double* a2) {
  Index i = 0;
  for (; i + kBlock <= size; i += kBlock)
    block<Order>(function, z + i, a + i, Order > 0 ? a1 + i : nullptr, Order > 1 ? a2 + i : nullptr);
  if (i == size) return;
  double in[kBlock] = {}, out[3][kBlock];
  std::copy(z + i, z + size, in);
  block<Order>(function, in, out[0], out[1], out[2]);
  std::copy_n(out[0], size - i, a + i);
  if (Order > 0) std::copy_n(out[1], size - i, a1 + i);
  if (Order > 1) std::copy_n(out[2], size - i, a2 + i);
}

template <int Order>
void dispatch(const Activation& activation, const double* z, Index size, double* a, double* a1, double* a2) {
  switch (activation.kind) {
    case Activation::tanh:
      return evaluate<Order>(Tanh{}, z, size, a, a1, a2);
    case Activation::erf:
      return evaluate<Order>(Erf{}, z, size, a, a1, a2);
    case Activation::softplus:
      return evaluate<Order>(Softplus(1.0), z, size, a, a1, a2);
    case Activation::gelu:
      return evaluate<Order>(Gelu{}, z, size, a, a1, a2);
    case Activation::sigmoid:
      return evaluate<Order>(Sigmoid{}, z, size, a, a1, a2);
    case Activation::quadratic:
      return evaluate<Order>(Quadratic{}, z, size, a, a1, a2);
    case Activation::identity:
      return evaluate<Order>(Identity{}, z, size, a, a1, a2);
    case Activation::relu:
      return evaluate<Order>(Relu{}, z, size, a, a1, a2);
    case Activation::leaky_relu:
      if (activation.parameter == 0.0) return evaluate<Order>(Relu{}, z, size, a, a1, a2);
      return evaluate<Order>(LeakyRelu{activation.parameter}, z, size, a, a1, a2);
    case Activation::abs:
      return evaluate<Order>(Abs{}, z, size, a, a1, a2);
    case Activation::smooth_relu:
      return evaluate<Order>(Softplus(activation.parameter), z, size, a, a1, a2);
    case Activation::polynomial: {
      const auto& c = activation.coefficients;
      return evaluate<Order>(Polynomial{c.data(), static_cast<Index>(c.size()) - 1}, z, size, a, a1, a2);
    }
  }
}

}  // namespace

Activation::Activation(Kind kind, double parameter) : kind(kind), parameter(parameter) {
  if (!std::isfinite(parameter)) throw std::invalid_argument("the parameter of an activation must be finite");
  if (kind == smooth_relu && !(parameter > 0.0 && std::isfinite(1.0 / parameter)))
    throw std::invalid_argument("the width of smooth_relu must be positive, and its inverse finite");
  if (kind == polynomial) throw std::invalid_argument("a polynomial is made of its coefficients");
}

Activation::Activation(std::vector<double> given) : kind(polynomial), coefficients(std::move(given)) {
  if (coefficients.empty()) throw std::invalid_argument("a polynomial has at least one coefficient");
  for (const double c : coefficients)
    if (!std::isfinite(c)) throw std::invalid_argument("the coefficients of a polynomial must be finite");
  while (coefficients.size() > 1 && coefficients.back() == 0.0) coefficients.pop_back();
}

std::optional<Activation::Slopes> Activation::slopes() const {
  if (kind == relu) return Slopes{0.0, 1.0};
  if (kind == leaky_relu && parameter != 1.0) return Slopes{parameter, 1.0};
  if (kind == abs) return Slopes{-1.0, 1.0};
  return std::nullopt;
}

const std::vector<std::string>& activation_names() {
  static const std::vector<std::string> names = {"tanh",       "erf",       "softplus",    "gelu",
                                                 "sigmoid",    "quadratic", "identity",    "relu",
                                                 "leaky_relu", "abs",       "smooth_relu", "polynomial"};
  return names;
}

Activation activation_by_name(const std::string& name, double parameter) {
  const auto& names = activation_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw std::invalid_argument("no activation is called '" + name + "'");
  return {static_cast<Activation::Kind>(found - names.begin()), parameter};
}

void activate(const Activation& activation, const double* z, Index size, double* a) {
  dispatch<0>(activation, z, size, a, nullptr, nullptr);
}

void activate(const Activation& activation, const double* z, Index size, double* a, double* a1) {
  dispatch<1>(activation, z, size, a, a1, nullptr);
}

void activate(const Activation& activation, const double* z, Index size, double* a, double* a1, double* a2) {
  dispatch<2>(activation, z, size, a, a1, a2);
}

}  // namespace grokflow
