#pragma once

#include "grokflow/tangent.hpp"
#include "numerics/minres.hpp"
#include "tangent/pseudo_inverse.hpp"

namespace grokflow {

/// Without a matrix: conjugate gradients on K = J J^T where r is at round-off, else MINRES on the full
/// Hessian.
class KrylovTangent final : public TangentSpace {
 public:
  KrylovTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options, Stats& stats);

  bool linearize(const ConstVectorRef& w) override;
  bool linearize_beside(const ConstVectorRef& w) override;
  bool by_jacobian() const override { return by_kernel_; }
  void project(VectorRef v) override;
  void normal_step(const ConstVectorRef& w, VectorRef out) override;
  Spectrum spectrum() override;
  Spectrum track() override;
  void state(Archive& archive) override { archive(by_kernel_, inverse_, on_hessian_); }

 private:
  bool take_back(VectorRef w);
  void measure_hessian();
  void check() const;
  void apply_hessian(const Vector& v, Vector& out);
  void solve_hessian(const Vector& b, Vector& x, double size);
  void apply_kernel(const Vector& v, Vector& out);
  void solve_kernel(const Vector& b, VectorRef x, double accuracy, double size);
  Spectrum spectrum_of_kernel(double accuracy);
  Spectrum spectrum_of_hessian();

  std::shared_ptr<const Problem> problem_;
  Stats& stats_;
  double rtol_rank_;
  std::unique_ptr<Linearization> on_, beside_;  // at the last point of M, and at the last one beside it
  Linearization* lin_ = nullptr;                // that of the two which is newer
  bool by_kernel_ = false;                      // K rather than H: M has residual 0
  PseudoInverse inverse_;                       // of J
  Minres on_hessian_;
  Vector rows_, params_, image_, curved_, foot_, step_;
  Vector noise_, dominant_;  // dominant_: an approximate eigenvector of H
};

}  // namespace grokflow
