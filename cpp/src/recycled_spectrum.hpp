// The dominant part of the spectrum of a symmetric operator, learnt from the solves that were made with it.
#pragma once

#include <Eigen/Eigenvalues>

#include "grokflow/types.hpp"

namespace grokflow {

/// Ritz vectors U and values theta of an operator G, out of the directions z that conjugate gradients has
/// multiplied by it anyway. They precondition the next solve (Frangella, Tropp & Udell, SIAM J. Matrix Anal.
/// Appl. 44, 2023):
///
///   P^-1 = I + U diag((sigma + mu) / (sigma + theta) - 1) U^T     for G + sigma I,    mu the least of theta,
///
/// for every shift, and for other operators in the neighbourhood of G: images under an operator of the past
/// stay in use until new directions come to span their place, and these come from where the preconditioner is
/// at fault.
///
///   spectrum.precondition(sigma, residual, step);
///   spectrum.note(step, image);                     // image = G step
///   spectrum.absorb();                              // after a solve
///
/// No product with G is spent on it. Memory: 2.5 `rank` vectors, touched as they fill.
class RecycledSpectrum {
 public:
  RecycledSpectrum(Index size, Index rank);

  /// How many Ritz pairs fit `bytes` for an operator of that size.
  static Index rank_within(double bytes, Index size);

  template <class Scalar>
  void precondition(Scalar shift, const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& residual,
                    Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& step);

  /// Keeps a direction and its image while there is room.
  void note(const Vector& step, const Vector& image);

  /// Takes the noted directions into the Ritz vectors, once there are enough of them to be worth the price:
  /// the Rayleigh-Ritz method on the span of both.
  void absorb();

  Index rank() const { return rank_; }

 private:
  void orthonormalize(Index total);

  Index max_rank_, rank_ = 0, num_new_ = 0;
  Matrix basis_, images_;  // U, then the new directions; and what the operator makes of them
  Vector values_;          // theta, rising
  // Of the merge; new directions come first in all of these, and sizes never shrink.
  Index merge_size_ = 0;
  Matrix gram_, projected_, rotation_, block_;
  Eigen::SelfAdjointEigenSolver<Matrix> eigen_;
  Matrix coefficients_;  // of a preconditioned vector, real and imaginary part
};

}  // namespace grokflow
