#include "grokflow/norm_flow.hpp"

#include <cmath>
#include <limits>
#include <utility>

namespace grokflow {
namespace {

constexpr int kMaxCorrections = 12;
constexpr double kNoise = 1e-14;       // correction, relative to w, that is round-off
constexpr double kFirst = 1e-3;        // contraction trusted before one has been seen
constexpr double kOnCourse = 1e-9;     // one that may be left when corrections stop shrinking
constexpr double kNegligible = 1e-11;  // error of the field, normal to M, which the way back to M undoes

}  // namespace

NormFlow::NormFlow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   CurvatureKind curvature, const TangentOptions& options)
    : problem_(std::move(problem)),
      regularizer_(std::move(regularizer)),
      tangent_(make_tangent_space(curvature, problem_,
                                  {options.rtol_rank, options.memory_budget, kNegligible}, stats())),
      step_(problem_->num_params()) {}

void NormFlow::compute_rhs(const ConstVectorRef& w, VectorRef out) {
  if (!tangent_->linearize(w)) {
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
  double last = 0.0;  // size of the last correction
  for (int i = 0; i < kMaxCorrections; ++i) {
    tangent_->normal_step(w, step_);
    const double size = step_.norm() / w.norm();
    if (i > 0 && !(size < last)) return last <= kOnCourse;
    w += step_;
    const double next = i > 0 ? size * (size / last) : kFirst * size;
    if (next <= kNoise) return true;
    last = size;
  }
  return last <= kOnCourse;
}

}  // namespace grokflow
