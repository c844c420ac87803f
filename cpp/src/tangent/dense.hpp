#pragma once

#include "grokflow/tangent.hpp"
#include "numerics/symmetric_eigen.hpp"

namespace grokflow {

/// The eigendecomposition of the d x d Hessian: the oracle.
class DenseTangent final : public TangentSpace {
 public:
  DenseTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options, Stats& stats);

  bool linearize(const ConstVectorRef& w) override;
  bool linearize_beside(const ConstVectorRef& w) override;
  void project(VectorRef v) override;
  void normal_step(const ConstVectorRef& w, VectorRef out) override;
  Spectrum spectrum() override { return spectrum_; }

 private:
  bool decompose(const ConstVectorRef& w);
  double invert(Index rank);
  Index count_rank(const ConstVectorRef& w, double largest);

  std::shared_ptr<const Problem> problem_;
  Stats& stats_;
  bool truncates_;  // the user has set the threshold
  double rtol_rank_;
  std::unique_ptr<Linearization> lin_;
  Matrix H_;
  SymmetricEigen eigen_;
  Vector inverse_;  // 1/eigenvalue, or 0 where it counts as zero
  Vector coordinates_, sizes_;
  Spectrum spectrum_;  // at the last point of M
};

}  // namespace grokflow
