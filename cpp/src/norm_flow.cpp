#include "grokflow/norm_flow.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace grokflow {
namespace {

constexpr int kMaxCorrections = 30;
constexpr double kNoise = 1e-15;    // correction, relative to w, that is round-off
constexpr double kFirst = 1e-3;     // contraction trusted before one has been seen
constexpr double kOnCourse = 1e-9;  // one that may be left when corrections stop shrinking ...
constexpr double kExact = 1e-14;    // ... and where the zero eigenvalues must be told from the others
constexpr double kTiny = std::numeric_limits<double>::min();  // stands for ||w|| where w = 0

}  // namespace

NormFlow::NormFlow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   CurvatureKind curvature, const TangentOptions& options)
    : problem_(std::move(problem)),
      regularizer_(std::move(regularizer)),
      tangent_(make_tangent_space(curvature, problem_, options, stats())),
      tolerated_(curvature == CurvatureKind::gram ? kOnCourse : kExact),
      point_(problem_->num_params()),
      step_(problem_->num_params()) {}

void NormFlow::compute_rhs(const ConstVectorRef& w, VectorRef out) {
  const bool on_manifold = !begun_ || w == point_;
  if (on_manifold) point_ = w;
  begun_ = true;
  if (!(on_manifold ? tangent_->linearize(w) : tangent_->linearize_beside(w))) {
    out.setConstant(std::numeric_limits<double>::quiet_NaN());
    return;
  }
  regularizer_->evaluate(w, out);
  const double steepness = out.norm();
  tangent_->project(out);
  stationarity_ = steepness > 0.0 ? out.norm() / steepness : 0.0;
  out = -out;
}

/// Newton's method with the Hessian frozen where the flow was last evaluated, close by: linear convergence at
/// a rate of the distance to that point.
bool NormFlow::retract(VectorRef w) {
  double last = std::numeric_limits<double>::infinity();  // size of the last correction
  for (int i = 0; i < kMaxCorrections; ++i) {
    tangent_->normal_step(w, step_);
    const double size = step_.norm() / std::max(w.norm(), kTiny);
    if (i > 0 && !(size < last)) return arrive(w, last);
    w += step_;
    const double next = i > 0 ? size * (size / last) : kFirst * size;
    if (next <= kNoise) return arrive(w, next);
    last = size;
  }
  return arrive(w, last);
}

/// Remembers w as a point of M, if the size of the last correction says that it is one.
bool NormFlow::arrive(const ConstVectorRef& w, double size) {
  if (size > tolerated_) return false;
  point_ = w;
  return true;
}

}  // namespace grokflow
