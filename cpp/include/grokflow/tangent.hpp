// The tangent space of the manifold of minimisers, at one of its points.
//
// M is the set of minimisers (more generally: critical points) of F. Where the Hessian H = Hess F has
// constant rank, the tangent space of M is ker H; P is the orthogonal projector on it. The drift on M needs
// P v, and the way back to M the normal step -H^+ grad F, which is Newton's method on M:
//
//   auto tangent = make_tangent_space(CurvatureKind::gram, problem, {}, stats);
//   tangent->linearize(w);                 // H frozen at w, a point of M
//   tangent->project(v);                   // v <- P v
//   tangent->normal_step(w, step);         // step = -H^+ grad F(w); w + step is on M to second order
//   tangent->spectrum();                   // rank, smallest non-zero and largest eigenvalue of H,
//                                          // and the gap to what counts as zero
//
// Three strategies:
//
// `gram`: where r = 0, ker H = ker J, and with K = J J^T
//
//   P v = v - J^T K^-1 J v,        -H^+ grad F = -J^T K^-1 r = -J^+ r,
//
// at the price of one n x n Cholesky factorisation. The non-zero eigenvalues of H are those of c K. A Gram
// matrix squares the condition number; the projector is applied twice, which repairs that up to
// cond(J) of about 1e7, unless K is known to be conditioned well enough. Where K is singular (duplicate
// samples, sparse ends of the drift) an eigendecomposition of K takes over.
//
// `dense`: the eigendecomposition of the d x d Hessian. It serves at any critical point, also where r does
// not vanish.
//
// `krylov`: conjugate gradients on K (through J and J^T), preconditioned by what earlier solves have learnt,
// or, where r is not 0 or F is no sum of squares, MINRES on H (through Hessian-vector products). No matrix at
// all. It decides on no rank: directions that it does not resolve within its tolerance count as tangent.
//
// The rank: eigenvalues of H below rtol_rank times the largest (in modulus) count as zero.
#pragma once

#include <functional>
#include <limits>
#include <memory>

#include "grokflow/curvature.hpp"
#include "grokflow/problem.hpp"

namespace grokflow {

/// What is known of the eigenvalues of Hess F at a point.
struct Spectrum {
  Index rank = -1;         ///< number of eigenvalues that count as non-zero; -1: not decided (krylov)
  double smallest = 0.0;   ///< the smallest of these in modulus: eta
  double largest = 0.0;    ///< the largest of these in modulus
  double gap = 0.0;        ///< eta over the largest one that counts as zero, at least epsilon * largest
  Index num_negative = 0;  ///< those that are negative, beyond the threshold: a saddle
  double lowest = 0.0;     ///< the most negative of these, or 0

  void state(Archive& archive) { archive(rank, smallest, largest, gap, num_negative, lowest); }
};

/// How far a point is from M.
struct Offset {
  double distance;  ///< ||H^+ grad F||
  double slope;     ///< ||grad F||
};

struct TangentOptions {
  double rtol_rank = 0.0;  ///< 0: 10 * size of the matrix * epsilon
  double memory_budget = 4.0 * 1024 * 1024 * 1024;
  double accuracy = 0.0;  ///< of P v, relative to it: `gram` applies P once if that is met, or 1e-11 of v
  std::function<void()> checkpoint = {};  ///< called between two products of many
  /// The points follow a path, on which `gram` lets go of an eigenvalue below this times the largest, unless
  /// rtol_rank is set, and takes it back only where it has become much larger. 0: each point stands alone.
  double rtol_path = 0.0;
};

class TangentSpace {
 public:
  virtual ~TangentSpace() = default;

  /// Freezes the Hessian at w, in the memory of the last point. False if it is not finite.
  virtual bool linearize(const ConstVectorRef& w) = 0;
  /// The same at a point beside M, where the zero eigenvalues of the Hessian are only small: whatever tells
  /// them from the others is taken over from the last `linearize`, so that P extends smoothly. False also if
  /// w is too far away.
  virtual bool linearize_beside(const ConstVectorRef& w) { return linearize(w); }
  /// What `linearize_beside` costs, in gradients; infinite if that is not known beforehand.
  virtual double renewal_cost() const { return std::numeric_limits<double>::infinity(); }
  /// Whether the last point was linearised by J, whose kernel is as smooth beside M as on it: then a point
  /// need not be on M to the last digit.
  virtual bool by_jacobian() const { return false; }
  /// v <- P v.
  virtual void project(VectorRef v) = 0;
  /// out (n) = mu = K^-1 J v, with which P v = v - J^T mu. Only `gram`.
  virtual void multipliers(const ConstVectorRef& v, VectorRef out);
  /// out = -H^+ grad F(w), with the gradient (the residual) at w and the frozen H.
  virtual void normal_step(const ConstVectorRef& w, VectorRef out) = 0;
  /// Of w, the point at which `problem` has been linearised.
  virtual Offset offset(const Problem& problem, const ConstVectorRef& w);
  /// From scratch, as exact as the strategy allows.
  virtual Spectrum spectrum() = 0;
  /// By a few inverse iterations that take up where those of the last point ended: cheap, to about 0.1%.
  virtual Spectrum track() { return spectrum(); }

  /// `TangentOptions::checkpoint`.
  std::function<void()> checkpoint;

  /// Writes or reads what it has learnt from earlier points. To be linearised at the same point when it was read.
  virtual void state(Archive& /*archive*/) {}
};

/// `automatic` resolved: gram if residuals exist, n <= d, K fits the budget and is worth its price (d <= 2000,
/// a quadratic loss, or `kernel_cost` is at most 600); else dense for d <= 2000; else krylov. Throws std::invalid_argument if the problem does not offer what `kind` needs.
CurvatureKind choose_tangent_space(const Problem& problem, CurvatureKind kind, double memory_budget);

/// The same at w, where `automatic` takes `gram` unless w is a critical point at which the residual stays.
CurvatureKind choose_tangent_space(const Problem& problem, CurvatureKind kind, double memory_budget,
                                   const ConstVectorRef& w);

/// `kind` is gram, dense or krylov. Work is counted in `stats`, which must outlive it.
std::unique_ptr<TangentSpace> make_tangent_space(CurvatureKind kind, std::shared_ptr<const Problem> problem,
                                                 const TangentOptions& options, Stats& stats);

/// P v at one point, and what was found there on the way.
struct TangentProjection {
  Vector v;  ///< P v
  Spectrum spectrum;
  Offset offset;
  Stats stats;
};

/// As accurate as the strategy allows, whatever `options.accuracy`. Throws std::invalid_argument if the
/// Hessian at w is not finite.
TangentProjection project_on_tangent(std::shared_ptr<const Problem> problem, const ConstVectorRef& w,
                                     Vector v, CurvatureKind kind, TangentOptions options = {});

}  // namespace grokflow
