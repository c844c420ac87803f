// Losses on top of a model's outputs, with their curvature as a factor.
//
//   l(f) = sum_i l_i(f_i),  f_i in R^k the outputs at sample i,   g_i = grad l_i,   S_i = Hess l_i = B_i B_i^T.
//
// The pseudo-residual rho_i = B_i^+ g_i (q numbers) and the pseudo-Jacobian B_i^T J_i make F(w) = c l(f(w)) a
// sum of squares to first order: grad F = c (B^T J)^T rho, its Gauss-Newton matrix is c (B^T J)^T (B^T J) and
// the tangent kernel B^T K B (Schraudolph, Neural Computation 14, 2002; Martens, arXiv:1412.1193). So what is
// written for least squares serves where g can be 0 at finite f. Where it cannot (`attained` is false, as with
// labels that are certain) S sinks with g: Gauss-Newton is then no approximation of the Hessian, and whoever
// needs curvature takes products with all of it.
//
// f, g and products with S are n k numbers, rho is n q, sample by sample. S is never inverted, and nothing is
// formed that cancels or overflows where a sample is fitted well, or badly.
#pragma once

#include <memory>

#include "grokflow/types.hpp"

namespace grokflow {

/// A probability so small that a certain label counts as all but fitted.
constexpr double kFaint = 1e-5;

class Loss {
 public:
  /// n samples of k outputs each; B_i is k x q.
  Loss(Index samples, Index outputs, Index rank);
  virtual ~Loss() = default;

  Index num_outputs() const { return samples_ * outputs_; }  ///< n k
  Index num_residuals() const { return samples_ * rank_; }   ///< n q

  /// Whether l has a minimiser at finite f: g = 0 there, and rho with it.
  virtual bool attained() const { return true; }
  /// Whether each label is certain. Then l < log 2 puts every sample on its side, g . f < 0 in each, and the flow
  /// of a model that is linear in its last weights u runs away: u . grad_u F = c g . f does not vanish.
  virtual bool is_certain() const { return false; }
  /// Whether S is a multiple of 1, the same everywhere.
  virtual bool is_quadratic() const { return false; }

  /// l(f)
  virtual double value(const ConstVectorRef& f) const = 0;
  /// f <- g
  virtual void gradient(VectorRef f) const = 0;
  /// f <- the part of g that comes from labels which are certain, where they are all but fitted. False if there are
  /// none.
  virtual bool faint_gradient(VectorRef /*f*/) const { return false; }
  /// x, a change of the outputs f, loses what only the margins feel that are all but fitted.
  virtual void felt_by_others(const ConstVectorRef& /*f*/, VectorRef /*x*/) const {}
  /// Adds `push` to the force on those of them that shrink by more than `slack` along -x. False if none does.
  virtual bool push_faint(const ConstVectorRef& /*f*/, const ConstVectorRef& /*x*/, double /*slack*/,
                          double /*push*/, VectorRef /*force*/) const {
    return false;
  }

  /// Numbers that hold B.
  virtual Index factor_size() const { return samples_ * outputs_ * rank_; }
  /// rho and B at f.
  virtual void factor(const ConstVectorRef& f, VectorRef rho, VectorRef B) const = 0;
  /// x = B u, and u = B^T x. Default: B holds the blocks k x q, one after the other, row-major.
  virtual void apply(const ConstVectorRef& B, const ConstVectorRef& u, VectorRef x) const;
  virtual void apply_transposed(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const;
  /// u = B^+ x, for x in the range of B.
  virtual void solve(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const;
  /// x <- S x, with u (n q) for scratch. Default: B B^T x.
  virtual void hessian(const ConstVectorRef& B, VectorRef u, VectorRef x) const;

 protected:
  Index samples_, outputs_, rank_;
};

/// Of each output by itself; targets (n k).
///
///   squares:  (f - y)^2 / 2
///   Huber:    the same up to |f - y| = delta, then delta (|f - y| - delta / 2). There l'' = 0 while g is not: B B^T
///             is the weight g / (f - y) >= l'' of iteratively reweighted least squares.
///   logistic: log(1 + exp(-y f)), y = 1 or -1; not attained
std::unique_ptr<Loss> squares(Vector targets);
std::unique_ptr<Loss> huber(Vector targets, double delta);
std::unique_ptr<Loss> logistic(Vector labels);

/// -sum_j q_j log p_j, p = softmax(f), for `targets` q (n k) that sum to 1 over the k outputs of each sample.
/// Attained if all of them are positive. One direction of f does nothing, and B leaves it out: q = k - 1.
std::unique_ptr<Loss> cross_entropy(Vector targets, Index outputs);

/// l(factor f)
std::unique_ptr<Loss> of_scaled_outputs(std::shared_ptr<const Loss> loss, double factor);

}  // namespace grokflow
