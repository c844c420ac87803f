#include "grokflow/check.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>

#include "linearized.hpp"

namespace grokflow {
namespace {

constexpr double kAgreement = 1e-6;     // of two ways to the same number; single precision passes
constexpr Index kLargestMatrix = 3000;  // rows of the largest K that is formed in order to be checked

double length(const Vector& x) { return x.stableNorm(); }

using Map = std::function<Vector(const Vector& w)>;

/// The root mean square of the round-off in f, by fourth differences along v, which annihilate what is smooth
/// (More and Wild, SIAM J. Sci. Comput. 33, 2011).
double noise(const Map& f, const Vector& w, const Vector& v) {
  std::vector<Vector> values;
  for (int k = 0; k < 9; ++k) values.push_back(f(w + 1e-5 * k * v));
  double sum = 0.0;
  for (std::size_t k = 0; k < 5; ++k)
    sum += (values[k] - 4.0 * values[k + 1] + 6.0 * values[k + 2] - 4.0 * values[k + 3] + values[k + 4])
               .squaredNorm();
  return std::isfinite(sum) ? std::sqrt(sum / 5.0 / 70.0) : 0.0;
}

/// The order of the remainder where it has just risen above round-off; infinite if it never does, as for a
/// linear f, or if what could go unseen is small.
double order(const Map& f, const Vector& derivative, const Vector& w, const Vector& v) {
  constexpr int points = 6;  // 1.5 decades
  const Vector f0 = f(w);
  const double floor = 50.0 * std::max(noise(f, w, v), 1e-16 * length(f0));
  const double size = std::max(length(derivative), std::numeric_limits<double>::min());
  double unseen = INFINITY;
  std::vector<double> x, y;  // log h and log e above the last e at round-off
  for (int k = 0; k <= 36; ++k) {
    const double h = std::pow(10.0, -12.0 + k / 3.0);
    const double e = length(f(w + h * v) - f0 - h * derivative);
    if (!std::isfinite(e)) continue;
    unseen = std::min(unseen, e / (h * size));
    if (e <= floor)
      x.clear(), y.clear();
    else
      x.push_back(std::log(h)), y.push_back(std::log(e));
  }
  const std::size_t m = std::min<std::size_t>(x.size(), points);
  if (m < 4 || unseen < 1e-7) return INFINITY;
  const auto X = Eigen::Map<Vector>(x.data(), static_cast<Index>(m)).array();
  const auto Y = Eigen::Map<Vector>(y.data(), static_cast<Index>(m)).array();
  return ((X - X.mean()) * (Y - Y.mean())).sum() / (X - X.mean()).square().sum();
}

class Checker {
 public:
  Checker(const Problem& problem, const ConstVectorRef& w, unsigned seed)
      : p_(problem), w_(w), u_(problem.num_residuals()), v_(w.size()), v2_(w.size()) {
    std::mt19937 bits(seed);
    std::normal_distribution<double> normal;
    const double size = length(w_) > 0.0 ? length(w_) : 1.0;
    for (Vector* x : {&v_, &v2_, &u_})
      for (double& entry : *x) entry = normal(bits);
    v_ *= size / length(v_);
    v2_ *= size / length(v2_);
    linearized(p_, w_, lin_);
  }

  std::vector<Failure> operator()() {
    if (p_.has_residuals()) check_jacobian();
    check_gradient();
    if (p_.has_hvp()) check_hessian();
    return std::move(failures_);
  }

 private:
  void check_jacobian() {
    const Vector r = residual(w_), Jv = jvp(v_), JTu = vjp(u_);
    finite("residual", r);
    equal("residual", "two calls at w", r, residual(w_));
    finite("jvp", Jv);
    taylor("jvp", "derivative of residual", [this](const Vector& w) { return residual(w); }, Jv,
           {"residual"});
    equal("jvp", "linear in v", jvp(2.0 * v_ - 3.0 * v2_), 2.0 * Jv - 3.0 * jvp(v2_));
    finite("vjp", JTu);
    const double size = length(u_) * std::max(length(Jv), 1e-300);
    equal("vjp", "<u, J v> = <J^T u, v>", scalar(u_.dot(Jv)), scalar(JTu.dot(v_)), {"jvp"}, size);
    if (u_.size() > kLargestMatrix) return;
    Matrix K(u_.size(), u_.size());
    lin_->gram(0, w_.size(), K);
    equal("gram", "K u = J J^T u", K * u_, jvp(JTu), {"jvp", "vjp"});
  }

  void check_gradient() {
    const Vector g = gradient(w_);
    finite("loss", scalar(p_.loss(w_)));
    finite("gradient", g);
    equal("gradient", "two calls at w", g, gradient(w_));
    taylor("gradient", "derivative of loss", [this](const Vector& w) { return scalar(p_.loss(w)); },
           scalar(g.dot(v_)), {"residual", "vjp", "loss"});
  }

  void check_hessian() {
    const Vector Hv = hvp(v_), Hv2 = hvp(v2_);
    finite("hvp", Hv);
    taylor("hvp", "derivative of gradient", [this](const Vector& w) { return gradient(w); }, Hv,
           {"residual", "vjp", "gradient"});
    const double size = length(v2_) * length(Hv);
    equal("hvp", "<v', H v> = <v, H v'>", scalar(v2_.dot(Hv)), scalar(v_.dot(Hv2)), {}, size);
    equal("hvp", "linear in v", hvp(2.0 * v_ - 3.0 * v2_), 2.0 * Hv - 3.0 * Hv2);
  }

  static Vector scalar(double x) { return Vector::Constant(1, x); }

  Vector residual(const Vector& w) const {
    Vector out(u_.size());
    p_.residual(w, out);
    return out;
  }
  Vector gradient(const Vector& w) const {
    Vector out(w.size());
    p_.gradient(w, out);
    return out;
  }
  Vector jvp(const Vector& v) const {
    Vector out(u_.size());
    lin_->jvp(v, out);
    return out;
  }
  Vector vjp(const Vector& u) const {
    Vector out(w_.size());
    lin_->vjp(u, out);
    return out;
  }
  Vector hvp(const Vector& v) const {
    Vector out(w_.size());
    lin_->hvp(v, out);
    return out;
  }

  bool is_wrong(const std::string& function) const {
    return std::any_of(failures_.begin(), failures_.end(),
                       [&](const Failure& failure) { return failure.function == function; });
  }

  void fail(const char* function, const char* law, double measured) {
    failures_.push_back({function, law, measured});
  }

  void finite(const char* function, const Vector& value) {
    const auto bad = value.size() - value.array().isFinite().count();
    if (bad > 0) fail(function, "finite at w", static_cast<double>(bad));
  }

  bool tried(const char* function, const std::vector<const char*>& needs) const {
    return !is_wrong(function) &&
           std::none_of(needs.begin(), needs.end(), [&](auto n) { return is_wrong(n); });
  }

  void equal(const char* function, const char* law, const Vector& a, const Vector& b,
             const std::vector<const char*>& needs = {}, double size = 0.0) {
    if (!tried(function, needs)) return;
    size = std::max({size, length(a), length(b), std::numeric_limits<double>::min()});
    const double difference = length(a - b) / size;
    if (!(difference <= kAgreement)) fail(function, law, difference);
  }

  void taylor(const char* function, const char* law, const Map& f, const Vector& derivative,
              const std::vector<const char*>& needs) {
    if (!tried(function, needs)) return;
    const double found = order(f, derivative, w_, v_);
    if (!(found > 1.75)) fail(function, law, found);
  }

  const Problem& p_;
  Vector w_, u_, v_, v2_;
  std::unique_ptr<Linearization> lin_;
  std::vector<Failure> failures_;
};

}  // namespace

std::vector<Failure> check_problem(const Problem& problem, const ConstVectorRef& w, unsigned seed) {
  if (w.size() != problem.num_params()) throw std::invalid_argument("w has not the size of the problem");
  if (!w.allFinite()) throw std::invalid_argument("w must be finite");
  return Checker(problem, w, seed)();
}

}  // namespace grokflow
