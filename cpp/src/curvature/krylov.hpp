#pragma once

#include <algorithm>

#include "curvature/aged_kernel.hpp"
#include "curvature/hessian_product.hpp"
#include "grokflow/curvature.hpp"
#include "numerics/recycled_spectrum.hpp"

namespace grokflow {

/// No matrix: conjugate gradients by products with J, J^T and the Hessian. See curvature.hpp for the systems.
class KrylovCurvature final : public Curvature {
 public:
  KrylovCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats,
                  const CurvatureOptions& options);

  void linearize(const ConstVectorRef& w) override;
  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override;
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override;
  bool sharpen() override;
  /// There is no matrix: a new point costs no more than a gradient, and preconditions as well as the last.
  double renewal_cost() const override { return 1.0; }
  void state(Archive& archive) override { archive(spectrum_, full_hessian_, contraction_); }

  const Problem& problem() const { return *problem_; }
  const Decay& decay() const { return decay_; }
  const Linearization& linearization() const { return *lin_; }
  /// Whether systems are solved in kernel space (n) rather than in parameter space (d).
  bool in_kernel_space() const { return in_kernel_space_; }
  HessianProduct& hessian() { return hessian_; }
  /// Whether solves use the full Hessian: in parameter space at once if the problem offers products with it.
  bool full_hessian() const { return full_hessian_; }
  /// Error of a solution, relative to it.
  double forcing() const { return forcing_; }
  void note_contraction(double rate) { contraction_ = std::max(contraction_, rate); }
  /// Of the operator that solves deal with, from all points so far.
  RecycledSpectrum& spectrum() { return spectrum_; }
  /// What preconditions real solves in place of the spectrum, in kernel space, if anything.
  AgedKernel* kernel() const { return kernel_; }
  void set_kernel(AgedKernel* kernel) { kernel_ = kernel; }
  void prepare_kernel(double z, double sigma) { kernel_->prepare(w_, *lin_, z, sigma); }
  Stats& stats() const { return stats_; }

 private:
  std::shared_ptr<const Problem> problem_;
  const Decay& decay_;
  Stats& stats_;
  double forcing_;
  HessianProduct hessian_;
  bool in_kernel_space_;
  RecycledSpectrum spectrum_;
  AgedKernel* kernel_ = nullptr;
  std::unique_ptr<Linearization> lin_;
  Vector w_;  // at which it is, for the kernel
  bool full_hessian_;
  double contraction_ = 0.0;  // the worst of Gauss-Newton since the last point
};

}  // namespace grokflow
