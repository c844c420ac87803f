#include "curvature/propagator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "curvature/full_hessian.hpp"
#include "linearized.hpp"
#include "numerics/power_iteration.hpp"
#include "numerics/products.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kRoundOff = std::numeric_limits<double>::epsilon();
constexpr double kCancelled = 0.25;  // of the round-off of a sum, if not all terms have one sign

/// g(x): the way at a velocity that decays at the rate x.
double way(double x, double s) { return x > 0.0 ? -std::expm1(-x * s) / x : s; }

}  // namespace

bool Propagator::serves(const GradientFlow& flow) {
  if (!flow.is_linear()) return false;
  const bool one_rate = flow.decay().groups().size() == 1;
  return flow.curvature() == CurvatureKind::dense || (flow.curvature() == CurvatureKind::gram && one_rate);
}

Propagator::Propagator(GradientFlow& flow)
    : flow_(flow), by_kernel_(flow.curvature() == CurvatureKind::gram) {
  const Problem& problem = flow.problem();
  ++flow.stats().nlinearize;
  linearized(problem, Vector::Zero(flow.size()), lin_).checkpoint = [&flow] { flow.check(); };
  const Index size = by_kernel_ ? problem.num_residuals() : problem.num_params();
  matrix_.resize(size, size);
  if (by_kernel_) {
    ++flow.stats().ngram;
    lin_->gram(0, problem.num_params(), matrix_);
    matrix_ *= problem.scale();
    decay_ = flow.decay().max_rate();
  } else {
    form_hessian(problem, *lin_, matrix_, flow.stats());
    flow.decay().add_to(matrix_);
    decay_ = 0.0;
  }
  shares_.resize(size);
  image_.resize(by_kernel_ ? size : 0);
}

double Propagator::fastest_rate() const {
  const auto multiply = [this](const Vector& x, Vector& image) {
    image.noalias() = matrix_.selfadjointView<Eigen::Lower>() * x;
  };
  const Vector noise = unstructured(matrix_.rows());
  Vector x = noise, image(noise.size());
  return dominant_eigenvalue(multiply, noise, x, image) + decay_;
}

void Propagator::decompose() {
  ++flow_.stats().nfactor;
  eigen_.compute(matrix_);
  matrix_.resize(0, 0);
  rates_ = eigen_.values().cwiseMax(0.0).array() + decay_;
}

/// Rates have the round-off of the largest one: a motion at the rate x is off by that much in the time 1 / x.
double Propagator::error(double span) const {
  double largest = 0.0;
  for (const double rate : rates_)
    largest = std::max(largest, (rate - decay_) / (rate + 1.0 / span) / (rate + 1.0 / span));
  return kRoundOff * rates_.maxCoeff() * largest;
}

double Propagator::noise(double s, double loss) const {
  const double slowest = by_kernel_ ? decay_ : rates_[0];
  return kCancelled * kRoundOff * std::sqrt(2.0 * rates_.maxCoeff() * loss) * way(slowest, s);
}

void Propagator::resolve(const ConstVectorRef& f, VectorRef modes) {
  if (!by_kernel_) return apply_transposed(eigen_.vectors(), f, modes);
  ++flow_.stats().njvp;
  lin_->jvp(f, image_);
  apply_transposed(eigen_.vectors(), image_, modes);
}

void Propagator::reach(double s, const ConstVectorRef& w, const ConstVectorRef& f,
                       const ConstVectorRef& modes, VectorRef out) {
  if (!by_kernel_) {
    for (Index i = 0; i < num_modes(); ++i) shares_[i] = way(rates_[i], s) * modes[i];
    apply(eigen_.vectors(), shares_, out);
    out += w;
    return;
  }
  const double slow = way(decay_, s), scale = flow_.problem().scale();
  for (Index i = 0; i < num_modes(); ++i) {
    const double rate = rates_[i] - decay_;  // c k
    const bool felt = rate * s > kRoundOff;
    shares_[i] = felt ? scale * modes[i] * (way(rates_[i], s) - slow) / rate : 0.0;
  }
  apply(eigen_.vectors(), shares_, image_);
  ++flow_.stats().nvjp;
  lin_->vjp(image_, out);
  out += w + slow * f;
}

}  // namespace grokflow
