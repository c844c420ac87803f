#pragma once

#include <memory>

#include "grokflow/gradient_flow.hpp"
#include "numerics/symmetric_eigen.hpp"

namespace grokflow {

/// The exact way of a linear flow: where it has the velocity f it moves by phi(s) f in the time s, with
///
///   phi(s) = g(D + H) = g(lam) + J^T K^-1 (g(lam + c K) - g(lam)) J,      g(x) = (1 - exp(-s x)) / x.
///
/// One decomposition serves all s: that of D + H (d x d) or, if all parameters share the rate lam, of K (n x n).
class Propagator {
 public:
  /// Whether the flow is linear, and its curvature has the matrix.
  static bool serves(const GradientFlow& flow);

  /// Forms the matrix. Counts its work in the statistics of the flow, which must outlive it.
  explicit Propagator(GradientFlow& flow);

  /// To a tenth, before the decomposition.
  double fastest_rate() const;

  /// Comes before all that follows.
  void decompose();

  /// By how much, relative to what moves, the round-off of the decomposition is felt within the time `span`.
  double error(double span) const;

  /// How far w is moved within the time s by the round-off of grad F = c J^T r, where r stays.
  double noise(double s, double loss) const;

  Index num_modes() const { return shares_.size(); }
  /// The part of f in each mode.
  void resolve(const ConstVectorRef& f, VectorRef modes);
  /// out = w + phi(s) f
  void reach(double s, const ConstVectorRef& w, const ConstVectorRef& f, const ConstVectorRef& modes,
             VectorRef out);

 private:
  GradientFlow& flow_;
  std::unique_ptr<Linearization> lin_;
  Matrix matrix_;  // until it is decomposed
  SymmetricEigen eigen_;
  bool by_kernel_;
  double decay_;  // that a mode has beside its eigenvalue: lam of kernels
  Vector rates_;  // of the modes
  Vector shares_, image_;
};

}  // namespace grokflow
