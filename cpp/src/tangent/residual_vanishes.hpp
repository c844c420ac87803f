// What the strategies for tangent spaces share.
#pragma once

#include "grokflow/curvature.hpp"

namespace grokflow {

constexpr double kOnManifold = 1e-9;  // residual, over the terms that cancel in it, that counts as zero

/// A unit vector without structure, the same in every run: no eigenvector is orthogonal to it but by
/// accident.
Vector unstructured(Index size);

/// Whether r(w) is zero up to round-off, so that ker J is ker Hess F.
bool residual_vanishes(const Problem& problem, const ConstVectorRef& w);

/// Whether w is (next to) a critical point where the residual stays: J^T r vanishes there, and r does not. On
/// the way to zero loss both are small together.
bool residual_stays(const Problem& problem, const ConstVectorRef& w);

/// The strategy that knows all of Hess F, where the residual stays; `none` if the problem does not offer it.
CurvatureKind full_hessian_kind(const Problem& problem);

}  // namespace grokflow
