#include "steppers/rock2_polynomial.hpp"

#include <algorithm>
#include <cmath>

#include "numerics/root.hpp"

namespace grokflow {
namespace {

constexpr double kGrowth = 0.7144, kOffset = 1.13;  // l > kGrowth s^2 - kOffset, for every degree

}  // namespace

int Rock2Polynomial::degree_for(double z) {
  return std::max(kLeastDegree, static_cast<int>(std::ceil(std::sqrt((z + kOffset) / kGrowth))));
}

double Rock2Polynomial::reach(int degree) { return kGrowth * degree * degree - kOffset; }

void Rock2Polynomial::compute(int degree) {
  if (degree == degree_) return;
  degree_ = degree;
  const double u = 1.0 / (static_cast<double>(degree) * degree);
  alpha_ = 1.0;
  beta_ = (3.983 + u * (9.015 + u * (30.42 + u * 102.0))) * u;
  orthogonalise();
  // R R'' / R'^2 - 1 is -sum (x - r)^-2 / (sum (x - r)^-1)^2 over the roots r: it falls through 0 once where
  // the complex pair, right above, stops to outweigh the real roots.
  const auto excess = [this](double x) {
    const Value R = evaluate(x);
    return R.value * R.bend / (R.slope * R.slope) - 1.0;
  };
  const double low = alpha_ + 0.9 * beta_, high = alpha_ + beta_;
  a_ = find_root(excess, low, high, excess(low), excess(high));
  normalise();
}

/// The procedure of Stieltjes for the orthonormal polynomials,
/// norm_{j+1} p_{j+1} = (x - centre_j) p_j - norm_j p_{j-1}; Gauss-Chebyshev quadrature is exact.
void Rock2Polynomial::orthogonalise() {
  constexpr double pi = 3.14159265358979323846;
  constexpr int most = kMostDegree + 2;
  std::array<double, most> storage_x, storage_weight, storage_last, storage_p;
  const int nodes = degree_ + 2;
  const auto array = [nodes](std::array<double, most>& storage) {
    return Eigen::Map<Eigen::ArrayXd>(storage.data(), nodes);
  };
  auto x = array(storage_x), weight = array(storage_weight), last = array(storage_last), p = array(storage_p);
  for (int i = 0; i < nodes; ++i) x[i] = std::cos((i + 0.5) * pi / nodes);
  weight = ((x - alpha_).square() + beta_ * beta_).square();
  last.setZero();
  p.setConstant(1.0 / std::sqrt(weight.sum()));
  norm_[0] = 0.0;
  for (std::size_t j = 0; j + 2 < static_cast<std::size_t>(degree_); ++j) {
    centre_[j] = (weight * x * p.square()).sum();
    last = (x - centre_[j]) * p - norm_[j] * last;
    norm_[j + 1] = std::sqrt((weight * last.square()).sum());
    last /= norm_[j + 1];
    std::swap_ranges(p.begin(), p.end(), last.begin());
  }
}

Rock2Polynomial::Value Rock2Polynomial::evaluate(double x) const {
  Value last{0.0, 0.0, 0.0}, p{1.0, 0.0, 0.0};
  for (std::size_t j = 0; j + 2 < static_cast<std::size_t>(degree_); ++j) {
    const double y = x - centre_[j], b = norm_[j], c = norm_[j + 1];
    const Value next{(y * p.value - b * last.value) / c, (y * p.slope + p.value - b * last.slope) / c,
                     (y * p.bend + 2.0 * p.slope - b * last.bend) / c};
    last = p;
    p = next;
  }
  const double y = x - alpha_, w = y * y + beta_ * beta_;
  return {w * p.value, w * p.slope + 2.0 * y * p.value, w * p.bend + 4.0 * y * p.slope + 2.0 * p.value};
}

void Rock2Polynomial::normalise() {
  const Value R = evaluate(a_);
  scale_ = R.slope / R.value;
  const double y = a_ - alpha_, w = y * y + beta_ * beta_;
  sigma_ = y / (scale_ * w);
  tau_ = 1.0 / (scale_ * scale_ * w);
  double ratio = 0.0;  // norm_j P_{j-1}(a) / P_j(a)
  for (std::size_t j = 0; j + 2 < static_cast<std::size_t>(degree_); ++j) {
    const double grown = a_ - centre_[j] - ratio;  // norm_{j+1} P_{j+1}(a) / P_j(a)
    mu_[j] = 1.0 / (scale_ * grown);
    kappa_[j] = ratio / grown;
    ratio = norm_[j + 1] * norm_[j + 1] / grown;
  }
}

double Rock2Polynomial::operator()(double z) const {
  double last = 0.0, q = 1.0;
  for (int j = 0; j + 2 < degree_; ++j) {
    const double next = (mu(j) * z + 1.0 + kappa(j)) * q - kappa(j) * last;
    last = q;
    q = next;
  }
  return (1.0 + z * (2.0 * sigma_ + z * tau_)) * q;
}

}  // namespace grokflow
