// A kernel and its factor that precondition the solves of many points.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>

#include "grokflow/curvature.hpp"
#include "numerics/shifted_factor.hpp"

namespace grokflow {

/// P = K_0 + sigma_0 I, the kernel of an earlier point and a shift near by, for the systems in kernel space of
/// curvature.hpp. Conjugate gradients take one iteration while K_0 is new, and more as it ages. Once those beyond the
/// first have cost as much as a kernel, it is formed anew: as their number grows about in proportion to the age, that
/// makes the sum of both least.
class AgedKernel {
 public:
  AgedKernel(const Problem& problem, const Decay& decay, Stats& stats);

  /// What a kernel costs with its factor, in gradients.
  double price() const { return price_; }
  /// What solves with so many iterations cost, in gradients: those beyond the first pay for the next kernel, too.
  double price(double solves, double iterations) const { return iteration_ * (2.0 * iterations - solves); }

  /// Before iterations at w, where the problem is frozen to `lin`: forms K_0 there if it is worn out, and factors P if
  /// that is new or sigma far from sigma_0. A factor that does not exist preconditions nothing.
  void prepare(const ConstVectorRef& w, const Linearization& lin, double z, double sigma);

  /// Iterations of a solve that K_0 is still good for.
  int room() const { return 1 + static_cast<int>(std::ceil(std::max(0.0, price_ - worn_) / iteration_)); }
  void wear(std::int64_t iterations) { worn_ += iteration_ * static_cast<double>(iterations - 1); }

  /// step = P^-1 residual
  void precondition(const Vector& residual, Vector& step) {
    step = residual;
    if (regular_) factor_->solve(step);
  }

  /// A bound of r^T S^-1 r from r^T P^-1 r, for eigenvalues of P^-1 S down to a quarter.
  static double bound(double slope) { return 4.0 * slope; }

  void state(Archive& archive);

 private:
  void form(const Linearization& lin);
  void factor(double sigma);

  const Problem& problem_;
  const Decay& decay_;
  Stats& stats_;
  double price_, iteration_;
  double worn_ = 0.0;  // what iterations have cost since K_0 was formed
  bool formed_ = false, regular_ = false;
  Vector w_;        // where K_0 was formed,
  double z_ = 0.0;  // with the weights that groups of the decay have for this z
  double sigma_ = 0.0;
  Matrix K_, part_;
  std::unique_ptr<ShiftedFactor<double, Factorisation::cholesky>> factor_;
};

}  // namespace grokflow
