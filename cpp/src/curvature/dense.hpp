#pragma once

#include "curvature/hessian_product.hpp"
#include "grokflow/curvature.hpp"

namespace grokflow {

/// The d x d matrix D + H. H is the full Hessian, or c J^T J for residuals without second derivatives, until
/// that serves badly.
class DenseCurvature final : public Curvature {
 public:
  DenseCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats);

  void linearize(const ConstVectorRef& w) override;
  void state(Archive& archive) override;
  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override;
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override;
  bool sharpen() override;

 private:
  void form();

  std::shared_ptr<const Problem> problem_;
  const Decay& decay_;
  Stats& stats_;
  std::unique_ptr<Linearization> lin_;
  HessianProduct hessian_;
  bool full_hessian_;
  Matrix matrix_;  // D + H
  long point_ = 0;
};

}  // namespace grokflow
