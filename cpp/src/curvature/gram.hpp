#pragma once

#include <vector>

#include "curvature/hessian_product.hpp"
#include "grokflow/curvature.hpp"

namespace grokflow {

/// Kernel space: n x n matrices only. See curvature.hpp for the formula.
class GramCurvature final : public Curvature {
 public:
  GramCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats);

  void linearize(const ConstVectorRef& w) override;
  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override;
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override;
  bool sharpen() override;
  void react(const ConstVectorRef& v, VectorRef forces) override;
  double renewal_cost() const override;
  void state(Archive& archive) override { archive(point_, full_hessian_, contraction_); }

  const Problem& problem() const { return *problem_; }
  const Decay& decay() const { return decay_; }
  const Linearization& linearization() const { return *lin_; }
  HessianProduct& hessian() { return hessian_; }
  /// One kernel for each group of the decay, at the current point.
  const std::vector<Matrix>& kernels() const { return kernels_; }
  /// J e for each slant of the decay.
  const Matrix& slanted() const { return slanted_; }
  /// Counts the points; a factorisation made at an earlier one is of no use.
  long point() const { return point_; }
  /// Whether solves use the full Hessian.
  bool full_hessian() const { return full_hessian_; }
  /// Told by a solve with the full Hessian how well Gauss-Newton alone would have done.
  void note_contraction(double rate) { contraction_ = std::max(contraction_, rate); }
  Stats& stats() const { return stats_; }

 private:
  std::shared_ptr<const Problem> problem_;
  const Decay& decay_;
  Stats& stats_;
  std::unique_ptr<Linearization> lin_;
  Vector rows_;
  HessianProduct hessian_;
  std::vector<Matrix> kernels_;
  Matrix slanted_;
  long point_ = 0;
  bool full_hessian_ = false;
  double contraction_ = 0.0;  // of Gauss-Newton, the worst since the last point, where H is solved with
};

}  // namespace grokflow
