// Whether the functions of a problem agree with each other at one point, and which one is wrong.
//
//   for (const grokflow::Failure& failure : grokflow::check_problem(*problem, w))
//     std::printf("%s: %s (%g)\n", failure.function.c_str(), failure.law.c_str(), failure.measured);
//
// Derivatives are held against what they differentiate by the order in h of the Taylor remainder ||f(w + h v)
// - f(w) - h Df(w) v||, 2 if they are right (Boumal, An Introduction to Optimization on Smooth Manifolds,
// section 4.8). A law that rests on a function already found wrong is not tried.
#pragma once

#include <string>
#include <vector>

#include "grokflow/problem.hpp"

namespace grokflow {

/// A law that does not hold.
struct Failure {
  std::string function;  ///< the one at fault
  std::string law;
  double measured;  ///< the order of the remainder, or the relative difference of two sides
};

/// Costs some 90 evaluations. Throws std::invalid_argument if w has not the size of the problem or is not
/// finite; what a function throws passes.
std::vector<Failure> check_problem(const Problem& problem, const ConstVectorRef& w, unsigned seed = 0);

}  // namespace grokflow
