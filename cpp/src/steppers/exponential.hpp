#pragma once

#include <memory>

#include "grokflow/gradient_flow.hpp"
#include "grokflow/stepper.hpp"

namespace grokflow {

/// Exact steps (exponential.cpp), which the flow must outlive; null where `Propagator` does not serve it, or where
/// round-off would move a state by more than the tolerance within the time `span`, or, `if_cheapest`, other
/// steps cost less.
std::unique_ptr<Stepper> make_exponential(GradientFlow& flow, const Tolerance& tolerance, double span,
                                          bool if_cheapest = false);

}  // namespace grokflow
