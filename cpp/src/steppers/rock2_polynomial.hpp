// The stability polynomials of ROCK2, computed instead of tabulated.
//
// A polynomial R(z) = 1 + z + z^2/2 + O(z^3) of degree s that stays small on as long an interval [-l, 0] as
// possible has one pair of complex roots, beside z = 0, and s-2 real ones (Abdulle & Medovikov, Numer. Math.
// 90, 2001). Let x in [-1, 1] stand for that interval, z = c (x - a), and write
//
//   R = w(x) P_{s-2}(x) / (w(a) P_{s-2}(a)),   w(x) = (x - alpha)^2 + beta^2,
//
// with P_j orthogonal for the weight w(x)^2 / sqrt(1 - x^2). By a theorem of Bernstein R then oscillates
// between nearly equal bounds, and the recurrence of the P_j makes a method of R. The conditions R R'' = R'^2
// at a, and c = R'(a) / R(a), give order 2. The roots alpha +- i beta are left, two numbers for the height of
// the oscillations and the length l. A search over both showed that l = 0.714 s^2 is the most for a height of
// 0.66, and that alpha = 1 with the law of `compute` for beta attains it. The published coefficients have a
// height of 0.95 and l = 0.81 s^2; but what one step excites in stiff modes then lasts for twenty, and with
// the stronger damping a gradient flow of a network took a fifth fewer gradients.
#pragma once

#include <array>

#include "grokflow/types.hpp"

namespace grokflow {

class Rock2Polynomial {
 public:
  static constexpr int kLeastDegree = 3, kMostDegree = 200;
  static constexpr double kDamping = 0.66;  ///< |R| away from 0

  explicit Rock2Polynomial(int degree) { compute(degree); }

  /// The least degree, possibly beyond kMostDegree, that is stable on [-z, 0].
  static int degree_for(double z);
  /// The z up to which this degree is stable, by the same law, which is a lower bound of `length`.
  static double reach(int degree);

  /// Makes this the polynomial of another degree. It allocates nothing.
  void compute(int degree);

  int degree() const { return degree_; }
  /// l: |R(z)| <= kDamping from -l to -1/2, where it leaves exp(z).
  double length() const { return scale_ * (1.0 + a_); }
  /// The recurrence Q_{j+1}(z) = (mu_j z + 1 + kappa_j) Q_j - kappa_j Q_{j-1} of Q_j = P_j / P_j(a), from
  /// Q_0 = 1, for 0 <= j < degree - 2.
  double mu(int j) const { return mu_[static_cast<std::size_t>(j)]; }
  double kappa(int j) const { return kappa_[static_cast<std::size_t>(j)]; }
  /// w / w(a) = 1 + 2 sigma z + tau z^2
  double sigma() const { return sigma_; }
  double tau() const { return tau_; }

  /// R(z)
  double operator()(double z) const;

 private:
  /// R and its derivatives by x, up to a common factor.
  struct Value {
    double value, slope, bend;
  };
  void orthogonalise();
  Value evaluate(double x) const;
  void normalise();

  int degree_ = 0;
  double alpha_ = 0.0, beta_ = 0.0, a_ = 1.0, scale_ = 1.0, sigma_ = 0.0, tau_ = 0.0;
  std::array<double, kMostDegree> centre_{}, norm_{}, mu_{}, kappa_{};
};

}  // namespace grokflow
