#include "grokflow/norm_flow.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "grokflow/piecewise.hpp"

namespace grokflow {
namespace {

constexpr int kMaxCorrections = 16;
constexpr double kNoise = 1e-15;      // correction, relative to w, that is round-off
constexpr double kFirst = 1e-3;       // contraction trusted before one has been seen
constexpr double kSmall = 1e-12;      // one after which a setback is round-off, ...
constexpr double kStalled = 0.5;      // ... and so is one that contracts less than that
constexpr int kSetbacks = 3;          // while Broyden's changes learn how the Hessian differs
constexpr double kOnCourse = 1e-9;    // one that may be left when corrections stop shrinking ...
constexpr double kExact = 1e-14;      // ... and where the zero eigenvalues must be told from the others
constexpr double kCorrection = 0.7;   // price of one, in gradients
constexpr double kRemain = 2.0;       // of them, after the Hessian has been frozen anew
constexpr double kSingular = 1e-12;   // eigenvalue over the largest whose direction round-off shifts too far
constexpr double kUncertain = 1e-10;  // one that a run which gave up tells of
constexpr double kTiny = std::numeric_limits<double>::min();  // stands for ||w|| where w = 0

}  // namespace

NormFlow::NormFlow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
                   CurvatureKind curvature, const TangentOptions& options)
    : problem_(std::move(problem)),
      piece_(dynamic_cast<const Piece*>(problem_.get())),
      regularizer_(std::move(regularizer)),
      tangent_(make_tangent_space(
          curvature, problem_,
          {options.rtol_rank, options.memory_budget, options.accuracy, [this] { check(); }, kSingular},
          stats())),
      point_(problem_->num_params()),
      foot_(problem_->num_params()),
      steps_(problem_->num_params(), kMaxCorrections),
      squares_(kMaxCorrections) {
  if (!regularizer_) throw std::invalid_argument("the regularizer is a null pointer");
  checkpoint = options.checkpoint;
}

void NormFlow::compute_rhs(const ConstVectorRef& w, VectorRef out) {
  const bool on_manifold = !begun_ || w == point_;
  if (on_manifold) point_ = foot_ = w;
  begun_ = true;
  if (!(on_manifold ? tangent_->linearize(w) : tangent_->linearize_beside(w))) {
    out.setConstant(std::numeric_limits<double>::quiet_NaN());
    return;
  }
  regularizer_->evaluate(w, out);
  if (piece_) piece_->project(out);  // decay at several rates would push w off its surfaces
  const double steepness = out.norm();
  tangent_->project(out);
  stationarity_ = steepness > 0.0 ? out.norm() / steepness : 0.0;
  out = -out;
}

/// Between two steps the Hessian is frozen where the last one ended, on M.
void NormFlow::state(Archive& archive) {
  archive(begun_, point_, foot_);
  tangent_->state(archive);
  if (begun_ && archive.reading()) tangent_->linearize(foot_);
  archive(stationarity_);
  Flow::state(archive);
}

/// Newton's method with the Hessian frozen where the flow was last evaluated, close by, and brought up to
/// date by Broyden's rank-one changes. They need the earlier steps alone (Kelley, Solving Nonlinear Equations
/// with Newton's Method, SIAM 2003, section 4): with p_j the steps and z the frozen Newton step,
///
///   z <- z + p_{j+1} <p_j, z> / ||p_j||^2   for all j so far,     p_{k+1} = z / (1 - <p_k, z> / ||p_k||^2).
///
/// Where these would take longer than to freeze the Hessian at w, that is done, and they begin anew.
bool NormFlow::retract(VectorRef w) {
  double last = std::numeric_limits<double>::infinity();  // size of the last correction
  int setbacks = 0;
  for (Index made = 0, k = 0; made < kMaxCorrections; ++made, ++k) {
    auto step = steps_.col(k);
    tangent_->normal_step(w, step);
    for (Index j = 1; j < k; ++j) step += (steps_.col(j - 1).dot(step) / squares_[j - 1]) * steps_.col(j);
    if (k > 0) step /= 1.0 - steps_.col(k - 1).dot(step) / squares_[k - 1];
    squares_[k] = step.squaredNorm();
    const double size = std::sqrt(squares_[k]) / std::max(w.norm(), kTiny);
    if (!std::isfinite(size)) return arrive(w, last);  // the updates break down
    if (last <= kSmall && !(size < kStalled * last)) return arrive(w, last);
    if (!(size < last) && ++setbacks > kSetbacks) return arrive(w, last);
    w += step;
    const double next = k > 0 ? size * (size / last) : kFirst * size;
    if (next <= kNoise) return arrive(w, next);
    if (k > 0 && size < last) {
      const double remain = std::log(kNoise / next) / std::log(size / last);
      if (kCorrection * (remain - kRemain) > tangent_->renewal_cost()) {
        if (!tangent_->linearize_beside(w)) return false;
        k = -1;
      }
    }
    last = size;
  }
  return arrive(w, last);
}

std::string NormFlow::trouble() {
  const Spectrum found = tangent_->track();
  if (!(found.largest > 0.0)) return {};
  const double ratio = found.smallest / found.largest;
  std::ostringstream text;
  text << " The least eigenvalue of the Hessian that counts as non-zero is " << ratio << " of the largest";
  if (ratio < kUncertain)
    text << ", so that round-off turns its direction by up to "
         << std::min(1.0, std::numeric_limits<double>::epsilon() / ratio)
         << "; an rtol_rank above that ratio lets go of it";
  text << '.';
  return text.str();
}

/// Remembers w as a point of M, if the size of the last correction says that it is one.
bool NormFlow::arrive(const ConstVectorRef& w, double size) {
  if (!(size <= (tangent_->by_jacobian() ? kOnCourse : kExact))) return false;
  point_ = w;
  return true;
}

}  // namespace grokflow
