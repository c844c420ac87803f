// Losses of each output by itself: B is diagonal, so that each output counts as a sample of its own.
#include <algorithm>
#include <cmath>
#include <utility>

#include "grokflow/loss.hpp"

namespace grokflow {
namespace {

/// `Term` gives, of one output and its target: value, slope, root (B) and rho.
template <class Term>
class Elementwise : public Loss {
 public:
  Elementwise(Vector targets, Term term = {})
      : Loss(targets.size(), 1, 1), term_(term), targets_(std::move(targets)) {}

  bool attained() const override { return Term::attained; }
  bool is_certain() const override { return !Term::attained; }
  bool is_quadratic() const override { return Term::quadratic; }

  double value(const ConstVectorRef& f) const override {
    double sum = 0.0;
    for (Index i = 0; i < samples_; ++i) sum += term_.value(f[i], targets_[i]);
    return sum;
  }

  void gradient(VectorRef f) const override {
    for (Index i = 0; i < samples_; ++i) f[i] = term_.slope(f[i], targets_[i]);
  }

  bool faint_gradient(VectorRef f) const override {
    if (Term::attained) return false;
    for (Index i = 0; i < samples_; ++i) {
      f[i] = is_faint(f, i) ? term_.slope(f[i], targets_[i]) : 0.0;
    }
    return (f.array() != 0.0).any();
  }

  void felt_by_others(const ConstVectorRef& f, VectorRef x) const override {
    for (Index i = 0; i < samples_; ++i)
      if (is_faint(f, i)) x[i] = 0.0;
  }

  bool push_faint(const ConstVectorRef& f, const ConstVectorRef& x, double slack, double push,
                  VectorRef force) const override {
    bool any = false;
    for (Index i = 0; i < samples_; ++i) {
      const double down = term_.slope(f[i], targets_[i]) > 0.0 ? 1.0 : -1.0;
      if (!is_faint(f, i) || down * x[i] >= -slack) continue;
      force[i] += down * push;
      any = true;
    }
    return any;
  }

  void factor(const ConstVectorRef& f, VectorRef rho, VectorRef B) const override {
    for (Index i = 0; i < samples_; ++i) {
      rho[i] = term_.rho(f[i], targets_[i]);
      B[i] = term_.root(f[i], targets_[i]);
    }
  }

  void apply(const ConstVectorRef& B, const ConstVectorRef& u, VectorRef x) const override {
    x = B.cwiseProduct(u);
  }

  void apply_transposed(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    u = B.cwiseProduct(x);
  }

  void solve(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    for (Index i = 0; i < samples_; ++i) u[i] = B[i] > 0.0 ? x[i] / B[i] : 0.0;
  }

  void hessian(const ConstVectorRef& B, VectorRef, VectorRef x) const override {
    for (Index i = 0; i < samples_; ++i) x[i] *= term_.curvature(B[i]);
  }

 private:
  bool is_faint(const ConstVectorRef& f, Index i) const {
    return !Term::attained && std::abs(term_.slope(f[i], targets_[i])) < kFaint;
  }

  Term term_;
  Vector targets_;
};

struct SquaresTerm {
  static constexpr bool attained = true, quadratic = true;
  static double value(double f, double y) { return 0.5 * (f - y) * (f - y); }
  static double slope(double f, double y) { return f - y; }
  static double rho(double f, double y) { return f - y; }
  static double root(double, double) { return 1.0; }
  static double curvature(double) { return 1.0; }
};

struct HuberTerm {
  static constexpr bool attained = true, quadratic = false;
  double value(double f, double y) const {
    const double r = std::abs(f - y);
    return r <= delta ? 0.5 * r * r : delta * (r - 0.5 * delta);
  }
  double slope(double f, double y) const { return std::clamp(f - y, -delta, delta); }
  double rho(double f, double y) const { return (f - y) * root(f, y); }
  double root(double f, double y) const {
    const double r = std::abs(f - y);
    return r <= delta ? 1.0 : std::sqrt(delta / r);
  }
  static double curvature(double root) { return root < 1.0 ? 0.0 : 1.0; }

  double delta;
};

/// With the margin m = y f: slope -y / (1 + e^m), l'' = 1 / (e^(m/2) + e^(-m/2))^2, rho = -y e^(-m/2).
struct LogisticTerm {
  static constexpr bool attained = false, quadratic = false;
  static double value(double f, double y) {
    const double m = y * f;
    return std::max(-m, 0.0) + std::log1p(std::exp(-std::abs(m)));
  }
  static double slope(double f, double y) {
    const double small = std::exp(-std::abs(y * f));
    return -y * (y * f > 0.0 ? small : 1.0) / (1.0 + small);
  }
  static double rho(double f, double y) { return -y * std::exp(std::min(-0.5 * y * f, kLargestExponent)); }
  static double root(double f, double y) {
    const double small = std::exp(std::max(-0.5 * std::abs(y * f), -kLargestExponent));
    return small / (1.0 + small * small);
  }
  static double curvature(double root) { return root * root; }

  static constexpr double kLargestExponent = 700.0;
};

}  // namespace

std::unique_ptr<Loss> squares(Vector targets) {
  return std::make_unique<Elementwise<SquaresTerm>>(std::move(targets));
}

std::unique_ptr<Loss> huber(Vector targets, double delta) {
  return std::make_unique<Elementwise<HuberTerm>>(std::move(targets), HuberTerm{delta});
}

std::unique_ptr<Loss> logistic(Vector labels) {
  return std::make_unique<Elementwise<LogisticTerm>>(std::move(labels));
}

}  // namespace grokflow
