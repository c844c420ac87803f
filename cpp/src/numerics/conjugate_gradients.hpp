// Conjugate gradients, with a preconditioner that may change from one iteration to the next.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <type_traits>

#include "grokflow/types.hpp"

namespace grokflow {

/// Solves S x = b for a symmetric positive definite S, or, without conjugation (COCG; van der Vorst &
/// Melissen 1990), a complex symmetric one. The weight of the last direction is taken from the change of the
/// residual (Notay, SIAM J. Sci. Comput. 22, 2000), so that an inexact solve may serve as preconditioner.
///
/// The system owns the solution, for it may live in another space than the residual:
///
///   system.precondition(residual, step);           // step = P^-1 residual
///   system.done(step, slope);                      // whether x is good enough, after each iteration
///   system.apply(step, image);                     // image = S step
///   system.advance(beta, length, slope, search);   // search = step + beta search has been done;
///                                                  // x += length search
///
/// `slope` is residual^T step.
template <class Scalar>
class ConjugateGradients {
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  enum class End { converged, limit, indefinite };

  void resize(Index size) {
    for (VectorS* v : {&residual_, &step_, &search_, &image_, &product_}) v->resize(size);
  }
  Index size() const { return residual_.size(); }

  /// b on entry to `solve`, what is left of it after.
  VectorS& residual() { return residual_; }

  template <class System>
  End solve(System&& system, int max_iterations) {
    Scalar length{0.0}, last{0.0};
    for (int iteration = 0; iteration < max_iterations; ++iteration) {
      system.precondition(residual_, step_);
      const Scalar slope = dot(residual_, step_);
      if (iteration > 0 && system.done(step_, slope)) return End::converged;
      if (slope == Scalar(0)) return End::converged;
      const Scalar beta = iteration == 0 ? Scalar(0) : Scalar(-length * dot(image_, step_) / last);
      system.apply(step_, product_);
      const Scalar along = dot(step_, product_);
      if (iteration == 0) {
        image_.swap(product_);
        search_.swap(step_);
      } else {
        image_ = product_ + beta * image_;
        search_ = step_ + beta * search_;
      }
      const Scalar curvature = iteration == 0 ? along : dot(search_, image_);
      // A step along the last direction cancels: what is left of the residual is round-off.
      if (std::abs(curvature) <= kRoundOff * std::abs(along)) return End::converged;
      constexpr bool real = std::is_same_v<Scalar, double>;
      if (!(real ? std::real(curvature) > 0.0 : std::isfinite(std::abs(curvature)))) return End::indefinite;
      length = slope / curvature;
      last = slope;
      residual_ -= length * image_;
      system.advance(beta, length, slope, search_);
    }
    return End::limit;
  }

 private:
  static constexpr double kRoundOff = 1e-13;  // of a curvature, relative to the terms that cancel in it

  static Scalar dot(const VectorS& a, const VectorS& b) { return (a.transpose() * b).value(); }

  VectorS residual_, step_, search_, image_, product_;
};

}  // namespace grokflow
