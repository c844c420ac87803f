#include "grokflow/stepper.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace grokflow {

Tolerance::Tolerance(double rtol, double atol) : Tolerance(rtol, Vector::Constant(1, atol)) {}

Tolerance::Tolerance(double rtol, Vector atol) : rtol(rtol), atol(std::move(atol)) {
  if (!(rtol >= 0.0 && std::isfinite(rtol)) || !(this->atol.array() >= 0.0).all() || !this->atol.allFinite())
    throw std::invalid_argument("rtol and atol must be finite and not negative");
}

void Tolerance::require_size(Index size) const {
  if (atol.size() != 1 && atol.size() != size)
    throw std::invalid_argument("atol has " + std::to_string(atol.size()) + " entries; it must have 1 or " +
                                std::to_string(size));
}

void Tolerance::weights(const ConstVectorRef& a, const ConstVectorRef& b, VectorRef out, Index begin) const {
  constexpr double tiny = std::numeric_limits<double>::min();  // atol = 0 and w_i = 0 must not divide by zero
  const auto size = a.array().abs().max(b.array().abs());
  if (atol.size() == 1)
    out = (atol[0] + rtol * size).max(tiny).inverse();
  else
    out = (atol.segment(begin, out.size()).array() + rtol * size).max(tiny).inverse();
}

void Stepper::state(Archive&) {
  throw std::logic_error("this stepper does not say what its state is: it cannot be saved");
}

const Matrix& OneStepMethod::forces() const {
  static const Matrix none;
  return none;
}

double rms_norm(const ConstVectorRef& v, const ConstVectorRef& weights) {
  return std::sqrt(v.cwiseProduct(weights).squaredNorm() / static_cast<double>(v.size()));
}

bool all_finite(const ConstVectorRef& v) { return (0.0 * v).sum() == 0.0; }

double initial_step(Flow& flow, const Tolerance& tolerance, int order, const ConstVectorRef& w0,
                    const ConstVectorRef& f0) {
  Vector weights(w0.size()), w1(w0.size()), f1(w0.size());
  tolerance.weights(w0, w0, weights);
  // Where w0 is almost 0, f0 may be large beside it beyond the square of any number.
  const auto norm = [&weights](const ConstVectorRef& v) {
    return v.cwiseProduct(weights).stableNorm() / std::sqrt(static_cast<double>(v.size()));
  };
  const double size = norm(w0), slope = norm(f0);
  const double h0 = size < 1e-5 || slope < 1e-5 ? 1e-6 : 0.01 * size / slope;
  w1 = w0 + h0 * f0;
  flow.set_time(flow.time() + h0);
  flow.rhs(w1, f1);
  f1 -= f0;
  const double bend = norm(f1) / h0;
  const double steepest = std::max(slope, bend);
  const double h1 =
      steepest <= 1e-15 ? std::max(1e-6, 1e-3 * h0) : std::pow(0.01 / steepest, 1.0 / (order + 1));
  const double h = std::min(100.0 * h0, h1);
  return std::isfinite(h) && h > 0.0 ? h : 1e-6 * h0;
}

}  // namespace grokflow
