#pragma once

#include "grokflow/tangent.hpp"
#include "numerics/symmetric_cholesky.hpp"
#include "numerics/symmetric_eigen.hpp"

namespace grokflow {

/// Kernel space: P v = v - J^T K^-1 J v, by Cholesky while K is regular, by its eigenvectors where it is not.
class GramTangent final : public TangentSpace {
 public:
  GramTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options, Stats& stats);

  bool linearize(const ConstVectorRef& w) override;
  bool linearize_beside(const ConstVectorRef& w) override;
  double renewal_cost() const override;
  bool by_jacobian() const override { return true; }
  void project(VectorRef v) override;
  void multipliers(const ConstVectorRef& v, VectorRef out) override;
  void normal_step(const ConstVectorRef& w, VectorRef out) override;
  Offset offset(const Problem& problem, const ConstVectorRef& w) override;
  Spectrum spectrum() override;
  Spectrum track() override;
  void state(Archive& archive) override;

 private:
  bool factor();
  Index count_rank(const Vector& values) const;
  void decompose();
  void solve(VectorRef rows);
  double pass(VectorRef v);
  void hold(VectorRef v);
  Spectrum spectrum_of(const Vector& values) const;

  std::shared_ptr<const Problem> problem_;
  Stats& stats_;
  double rtol_rank_, accuracy_;
  bool truncates_;  // the user has set the threshold: every point is decomposed
  bool follows_;    // a path: what counts as singular depends on the point before
  std::unique_ptr<Linearization> lin_;
  Matrix K_, L_;
  SymmetricCholesky<double> cholesky_;  // of K_, in the memory of L_
  SymmetricEigen eigen_;
  double size_ = 0.0, least_pivot_ = 0.0;  // ||K|| (Frobenius), and the smallest diagonal entry of L
  bool decomposed_ = false;
  bool on_path_ = false;  // whether K_ is that of a point of M on it
  Index rank_;            // at the last point of M on the path
  Index before_;          // and at the one before
  Index kept_ = 0;        // the last eigenvectors are kept
  Vector rows_, coordinates_, params_;
  Vector forces_, held_;        // q of the last v - J^T q, and of that at the last point of M
  Vector noise_, slow_, fast_;  // slow_, fast_: approximate eigenvectors of the ends of the spectrum
};

}  // namespace grokflow
