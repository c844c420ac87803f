#pragma once

#include "grokflow/tangent.hpp"
#include "minres.hpp"

namespace grokflow {

/// Without a matrix: MINRES on K = J J^T where r is at round-off, else on the full Hessian.
class KrylovTangent final : public TangentSpace {
 public:
  KrylovTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options, Stats& stats);

  bool linearize(const ConstVectorRef& w) override;
  bool linearize_beside(const ConstVectorRef& w) override;
  void project(VectorRef v) override;
  void normal_step(const ConstVectorRef& w, VectorRef out) override;
  Spectrum spectrum() override;

 private:
  bool take_back(VectorRef w);
  void apply(const Vector& v, Vector& out);
  void solve(const Vector& b, Vector& x);
  Spectrum spectrum_of_last_solve() const;

  std::shared_ptr<const Problem> problem_;
  Stats& stats_;
  double rtol_rank_;
  std::unique_ptr<Linearization> on_, beside_;  // at the last point of M, and at the last one beside it
  Linearization* lin_ = nullptr;                // that of the two which is newer
  bool by_kernel_ = false;                      // MINRES on K rather than on H
  Minres on_kernel_, on_hessian_;
  Vector rows_, multiplier_, params_, image_, curved_, foot_, step_;
};

}  // namespace grokflow
