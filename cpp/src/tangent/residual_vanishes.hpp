// What the strategies for tangent spaces share.
#pragma once

#include "grokflow/problem.hpp"

namespace grokflow {

constexpr double kOnManifold = 1e-9;  // residual, over the terms that cancel in it, that counts as zero

/// A unit vector without structure, the same in every run: no eigenvector is orthogonal to it but by
/// accident.
Vector unstructured(Index size);

/// Whether r(w) is zero up to round-off, so that ker J is ker Hess F.
bool residual_vanishes(const Problem& problem, const ConstVectorRef& w);

}  // namespace grokflow
