#include <utility>

#include "grokflow/modes.hpp"

namespace grokflow {

Modes::Forces gradient_forces(const Piece& piece) {
  return [scale = piece.scale()](const ConstVectorRef&, const ConstVectorRef& r, VectorRef force) {
    force = scale * r;
  };
}

Modes::Forces drift_forces(std::shared_ptr<Piece> piece, std::shared_ptr<const Regularizer> regularizer,
                           const TangentOptions& options) {
  struct State {
    Stats stats;
    std::shared_ptr<TangentSpace> tangent;
    Vector slope;
  };
  auto state = std::make_shared<State>();
  state->tangent = make_tangent_space(CurvatureKind::gram, piece, options, state->stats);
  state->slope.resize(piece->num_params());
  return [state, regularizer = std::move(regularizer)](const ConstVectorRef& w, const ConstVectorRef&,
                                                       VectorRef force) {
    regularizer->evaluate(w, state->slope);
    state->tangent->linearize(w);
    state->tangent->multipliers(state->slope, force);
    force = -force;
  };
}

}  // namespace grokflow
