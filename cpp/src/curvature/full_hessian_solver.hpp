// Solves with the full Hessian, by conjugate gradients preconditioned by a solve with its Gauss-Newton part.
#pragma once

#include <cmath>
#include <type_traits>

#include "curvature/hessian_product.hpp"
#include "grokflow/decay.hpp"
#include "numerics/conjugate_gradients.hpp"

namespace grokflow {

/// (I + z (D + H))^-1 v. Allocates at the first solve.
template <class Scalar>
class FullHessianSolver {
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  static constexpr bool real = std::is_same_v<Scalar, double>;
  static constexpr int kMaxIterations = 30;  // of conjugate gradients in one solve
  static constexpr double kForcing = 0.2;    // their accuracy: Newton's method corrects what is left

 public:
  /// v <- the solution; false where negative curvature was met. `gauss_newton(v)` overwrites v with the
  /// solution of the Gauss-Newton system, an exact one if it `is_exact`: products then have that part for nothing.
  /// `note(rate)` is told how well that alone would have done.
  template <class GaussNewton, class Note>
  bool solve(HessianProduct& hessian, const Decay& decay, Scalar z, Eigen::Ref<VectorS> v, Stats& stats,
             bool is_exact, GaussNewton&& gauss_newton, Note&& note) {
    if (cg_.size() == 0) {
      cg_.resize(v.size());
      if (!real) part_.resize(v.size()), part_out_.resize(v.size());
    }
    cg_.residual() = v;
    System<GaussNewton, Note> system{*this, hessian, decay, z, v, stats, is_exact, gauss_newton, note};
    const auto end = cg_.solve(system, kMaxIterations);
    if (!system.begun) v.setZero();
    // At the limit the solution goes as far as it went; Newton's method judges it.
    return end != ConjugateGradients<Scalar>::End::indefinite && system.finite;
  }

 private:
  template <class GaussNewton, class Note>
  struct System {
    FullHessianSolver& self;
    HessianProduct& hessian;
    const Decay& decay;
    Scalar z;
    Eigen::Ref<VectorS>& v;
    Stats& stats;
    bool is_exact;
    GaussNewton& gauss_newton;
    Note& note;
    int iterations = 0;
    bool begun = false, finite = true;

    void precondition(const VectorS& residual, VectorS& step) {
      step = residual;
      gauss_newton(Eigen::Ref<VectorS>(step));
    }

    bool done(const VectorS& step, Scalar) {
      const double remaining = step.norm() / v.norm();
      if (++iterations == 1) note(remaining);
      finite = std::isfinite(remaining);
      return !(remaining > kForcing);
    }

    /// image = (I + z (D + H)) step: the Gauss-Newton part of that is the residual.
    void apply(const VectorS& step, VectorS& image) {
      ++stats.niter;
      if (is_exact && multiply(&HessianProduct::apply_residual_part, step, image)) {
        image = self.cg_.residual() + z * image;
        return;
      }
      multiply(&HessianProduct::apply, step, image);
      decay.add_product(1.0, step, image);
      image = step + z * image;
    }

    bool multiply(bool (HessianProduct::*product)(const ConstVectorRef&, VectorRef), const VectorS& step,
                  VectorS& image) {
      if constexpr (real) {
        return (hessian.*product)(step, image);
      } else {
        self.part_ = step.real();
        if (!(hessian.*product)(self.part_, self.part_out_)) return false;
        image.real() = self.part_out_;
        self.part_ = step.imag();
        (hessian.*product)(self.part_, self.part_out_);
        image.imag() = self.part_out_;
        return true;
      }
    }

    void advance(Scalar, Scalar length, Scalar, const VectorS& search) {
      if (begun)
        v += length * search;
      else
        v = length * search;
      begun = true;
    }
  };

  ConjugateGradients<Scalar> cg_;
  Vector part_, part_out_;  // real or imaginary parts
};

}  // namespace grokflow
