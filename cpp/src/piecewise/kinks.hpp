// Where a unit goes from a point that touches several surfaces.
#pragma once

#include <vector>

#include "grokflow/piecewise.hpp"

namespace grokflow {

/// What a unit was doing on one surface before, and what is known of its future.
struct Touch {
  Side before;
  bool forced = false;  ///< its multiplier has reached a bound: it must go to the side `towards`
  Side towards = Side::off;
};

struct Resolution {
  bool found = false;
  std::vector<Side> sides;
  std::vector<char> split;  ///< neither side leads to the other, and nothing told which way to go
  bool at_rest = false;     ///< the velocity along the normals is 0
};

/// The sides on which w goes on. `moving`: the unit arrived with the field of the sides `before`; else it is
/// the start of the run.
///
/// Surfaces with jump > 0 attract where both fields point to them; their multipliers minimise
/// ||field - sum_i theta_i jump_i normal_i|| over 0 <= theta <= 1, which has one solution: the velocity. It
/// is found by the active sets of Stark & Parker (Computational Statistics 10, 1995). Surfaces with jump <= 0
/// cannot be slid on; w crosses them, in the direction that it came in. Where that is not consistent with the
/// velocity, their sides follow it, again and again: a descent of the convex part of F beside the linearised
/// concave one, which ends.
Resolution resolve_kinks(const Kinks& kinks, const std::vector<Touch>& touches, bool moving);

}  // namespace grokflow
