#include <stdexcept>
#include <utility>

#include "grokflow/piecewise.hpp"
#include "grokflow/tangent.hpp"

namespace grokflow {

/// Of P v, relative to v: what a projector whose error is known only by a bound, a hundred times too high as
/// a rule, has to keep.
constexpr double kProjectionError = 1e-12;

TangentProjection project_on_tangent(std::shared_ptr<const Problem> problem, const ConstVectorRef& w,
                                     Vector v, CurvatureKind kind, TangentOptions options) {
  TangentProjection found{std::move(v), {}, {}, {}};
  options.accuracy = kProjectionError;
  const auto tangent = make_tangent_space(kind, problem, options, found.stats);
  if (!tangent->linearize(w)) throw std::invalid_argument("the Hessian at w is not finite");
  found.offset = tangent->offset(*problem, w);
  if (const auto* piece = dynamic_cast<const Piece*>(problem.get())) piece->project(found.v);
  tangent->project(found.v);
  found.spectrum = tangent->track();
  return found;
}

}  // namespace grokflow
