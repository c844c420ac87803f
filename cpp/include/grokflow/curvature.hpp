// Functions of the Hessian H = Hess F applied to a vector, at one point.
//
// A `Curvature` is the linearised gradient flow: f' = -(H + D), with D the weight decay, so its
// shifted solve is
//
//   x = (I + z (D + H))^-1 v.
//
// Three strategies do it:
//
// `gram` works in kernel space. With A = I + z D and the Gauss-Newton part of H, c J^T J,
//
//   x = A^-1 v - A^-1 J^T (I/(z c) + sum_g K_g / alpha_g)^-1 J A^-1 v,      alpha_g = 1 + z lam_g,
//
// that is one product with J, one with J^T and one factorisation of n x n for each z; no d x d matrix exists.
// K_g is the kernel of the parameters that share the rate lam_g: one kernel if the decay is uniform. Far from
// the minimisers, where the residual term of H is felt, `sharpen` turns on conjugate gradients with the full
// Hessian, preconditioned by the above.
//
// `dense` forms the d x d Hessian: the oracle, and the choice for small d or for losses without residuals.
//
// `krylov` forms no matrix: conjugate gradients on one of
//
//   ((1 + z lam) J A^-1 J^T + (1 + z lam)/(z c) I) u = (1 + z lam) J A^-1 v,          x = A^-1 (v - J^T u),
//   ((1 + z lam) A^-1/2 H A^-1/2 + (1 + z lam)/z I) y = (1 + z lam)/z A^-1/2 v,       x = A^-1/2 y,
//
// in kernel space if there are residuals and n <= d, else in parameter space. The first is exact, like
// `gram`, along the manifold of minimisers, whatever the accuracy of u. A solve ends when the error of x, not
// the residual, is a small share of x: the residual is dominated by stiff directions, and a tolerance for it
// would have to follow lam. Each solve preconditions the next ones (recycled_spectrum.hpp), across shifts and
// points.
//
// `adaptive` is `krylov` in kernel space until its iterations have cost more than kernels would; then a kernel and its
// factor precondition them, for as many steps as that is cheaper than a new one; and back again where that turns.
#pragma once

#include <functional>
#include <memory>

#include "grokflow/decay.hpp"
#include "grokflow/flow.hpp"
#include "grokflow/problem.hpp"

namespace grokflow {

class Curvature : public LinearizedFlow {
 public:
  /// Freezes the curvature at w, in the memory of the last point.
  virtual void linearize(const ConstVectorRef& w) = 0;

  /// Called between two products of many; it may throw to end them.
  std::function<void()> checkpoint;
};

/// `none` is for explicit methods: such a flow has no linearisation, and its problem need not give more than
/// a gradient.
enum class CurvatureKind { automatic, gram, dense, krylov, adaptive, none };

/// The name of a strategy: "auto", "gram", "dense", "krylov", "adaptive" or "none".
const char* to_string(CurvatureKind kind);

constexpr Index kDenseLimit = 2000;  ///< d up to which the d x d Hessian is an automatic choice, and
constexpr Index kDenseFirst = 200;   ///< up to which it is preferred to products with a Hessian that changes

struct CurvatureOptions {
  double memory_budget =
      4.0 * 1024 * 1024 * 1024;  ///< bytes for matrices, or for the preconditioner of `krylov`
  Index rank = 0;         ///< its rank: vectors of n or d entries, if they fit; 0: as many as are worth it
  double forcing = 0.05;  ///< error of a solve by `krylov`, relative to its solution
};

/// What it costs to linearise, to form K in that many parts and to factor it, in gradients.
double kernel_cost(const Problem& problem, double parts = 1.0);

/// `automatic` resolved: gram if residuals exist, n < d, its matrices fit `memory_budget` bytes and are worth
/// their price (d <= 200, a quadratic loss, or `kernel_cost` is at most 20; 60 with kinks or up to a hundred
/// residuals, 40 where costs are measured); else dense for d <= 200 (2000 for a quadratic loss, or without `hvp`); else adaptive where matrices of gram
/// fit, n < d and costs are declared; else krylov. Throws std::invalid_argument, with the need and the ways out, if the problem does not offer what `kind` needs.
CurvatureKind choose_curvature(const Problem& problem, CurvatureKind kind, double memory_budget);

/// Of the preconditioner of `krylov`: as many vectors as fit, and as are worth more than they cost.
Index krylov_rank(const Problem& problem, const CurvatureOptions& options);

/// A curvature of the given kind, which is not `automatic`. It counts its work in `stats`, which must outlive
/// it.
std::unique_ptr<Curvature> make_curvature(CurvatureKind kind, std::shared_ptr<const Problem> problem,
                                          const Decay& decay, Stats& stats, const CurvatureOptions& options);

}  // namespace grokflow
