// MINRES of Paige & Saunders (SIAM J. Numer. Anal. 12, 1975): A x = b for a symmetric A, definite or not,
// singular or not, through products A v.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "grokflow/archive.hpp"
#include "numerics/symmetric_eigen.hpp"

namespace grokflow {

/// For b in the range of A the solution has no part in the kernel of A. Seven vectors of memory.
class Minres {
 public:
  explicit Minres(Index size) : v_(size), v_old_(size), v_new_(size), d_(size), d_old_(size), d_new_(size) {}

  /// x = A^+ b, until ||b - A x|| <= rtol ||b|| or `floor`, the round-off of b, or the residual r no longer
  /// falls, or all of it that is left lies in the kernel: ||A r|| <= rtol_kernel ||A|| ||r||. `apply(v, out)`
  /// gives A v.
  template <class Apply>
  void solve(Apply&& apply, const ConstVectorRef& b, VectorRef x, double rtol, double floor,
             double rtol_kernel, Index max_iterations) {
    alpha_.clear();
    beta_.clear();
    x.setZero();
    double beta = b.norm();
    const double target = std::max(rtol * beta, floor);
    if (!(beta > floor) || !std::isfinite(beta)) return;
    v_ = b / beta;
    v_old_.setZero();
    d_.setZero();
    d_old_.setZero();
    double phi = beta, c = -1.0, s = 0.0, delta_next = 0.0, epsilon = 0.0;
    beta = 0.0;
    double best = phi;
    int stagnant = 0;
    for (Index k = 0; k < max_iterations; ++k) {
      apply(v_, v_new_);
      v_new_ -= beta * v_old_;
      const double alpha = v_.dot(v_new_);
      v_new_ -= alpha * v_;
      const double next = v_new_.norm();
      alpha_.push_back(alpha);
      // The last rotation applied to the new column, and a new rotation that removes `next`.
      const double delta = c * delta_next + s * alpha;
      const double gamma_bar = s * delta_next - c * alpha;
      const double old_epsilon = epsilon;
      epsilon = s * next;
      delta_next = -c * next;
      norm_ = std::max(norm_, std::hypot(alpha, next));
      if (std::hypot(gamma_bar, delta_next) <= rtol_kernel * norm_) {  // ||A r|| / ||r||
        apply(x, v_new_);
        v_new_ = b - v_new_;  // of the kernel; so is the part of x along it
        const double rest = v_new_.squaredNorm();
        if (rest > 0.0) x -= (v_new_.dot(x) / rest) * v_new_;
        return;
      }
      const double gamma = std::hypot(gamma_bar, next);
      if (!(gamma > 0.0)) return;
      c = gamma_bar / gamma;
      s = next / gamma;
      const double step = c * phi;
      phi *= s;
      d_new_ = (v_ - delta * d_ - old_epsilon * d_old_) / gamma;
      x += step * d_new_;
      d_old_.swap(d_);
      d_.swap(d_new_);
      if (phi <= target || next <= kBreakdown * norm_) return;
      stagnant = phi < 0.9 * best ? 0 : stagnant + 1;
      if (stagnant == 0) best = phi;
      if (stagnant > kPatience + static_cast<int>(x.size())) return;
      beta_.push_back(next);
      beta = next;
      v_old_.swap(v_);
      v_ = v_new_ / next;
    }
  }

  /// Another A, whose norm is at least that.
  void begin(double norm) { norm_ = norm; }
  /// A lower bound of ||A||.
  double norm() const { return norm_; }

  void state(Archive& archive) { archive(norm_); }

  /// The eigenvalues of A seen by the last solve, rising: Ritz values, exact at both ends of the spectrum.
  Vector ritz_values() const {
    const auto size = static_cast<Index>(alpha_.size());
    if (size == 0) return {};
    return tridiagonal_eigenvalues(Eigen::Map<const Vector>(alpha_.data(), size),
                                   Eigen::Map<const Vector>(beta_.data(), size - 1));
  }

 private:
  static constexpr double kBreakdown = 1e-13;  // of the Lanczos process: what follows would be round-off
  static constexpr int kPatience = 50;         // iterations without progress, beyond the size of the system

  Vector v_, v_old_, v_new_, d_, d_old_, d_new_;
  double norm_ = 0.0;
  std::vector<double> alpha_, beta_;  // the tridiagonal matrix of Lanczos
};

}  // namespace grokflow
