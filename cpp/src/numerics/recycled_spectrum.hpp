// The dominant part of the spectrum of a symmetric operator, learnt from the solves that were made with it.
#pragma once

#include "grokflow/archive.hpp"
#include "numerics/symmetric_eigen.hpp"

namespace grokflow {

/// A semidefinite B = F F^T of low rank that stands for an operator G, out of the directions P that conjugate
/// gradients has multiplied by it anyway, Y = G P. Its eigenvectors U and eigenvalues theta precondition the
/// next solves (Frangella, Tropp & Udell, SIAM J. Matrix Anal. Appl. 44, 2023),
///
///   P^-1 = I + U diag((sigma + mu) / (sigma + theta) - 1) U^T     for G + sigma I,    mu the least of theta,
///
/// for every shift, and for other operators in the neighbourhood of G. What new directions tell takes the
/// place of what B held along them,
///
///   B <- B - B P (P^T B P)^-1 P^T B + Y (P^T Y)^-1 Y^T,
///
/// the block form of the BFGS formula: B P = Y from then on, B stays semidefinite however far G has moved,
/// and across P it stays as operators of the past have left it. Directions come from where the preconditioner
/// is at fault. What B hardly knew of them is added to rather than replaced, or its rank would never grow.
///
///   for (bool converged = false; !converged; spectrum.absorb()) {
///     for (Index i = 0; i < spectrum.room() && !converged; ++i) {  // conjugate gradients, begun anew
///       spectrum.precondition(sigma, residual, step);
///       spectrum.note(step, image);                                // image = G step
///     }
///   }
///   spectrum.forget();                                             // before G changes by more than a little
///
/// A solve that is long because B knows little stops after a tenth of `rank` iterations, and goes on with
/// what they have told: on a spectrum that decays fast, more than the memory of conjugate gradients is worth,
/// and few directions at a time are better than many, which are nearly dependent. No product with G is spent
/// on it. Memory: 1.2 `rank` vectors, touched as they fill.
class RecycledSpectrum {
 public:
  RecycledSpectrum(Index size, Index rank);

  /// How many eigenpairs fit `bytes` for an operator of that size.
  static Index rank_within(double bytes, Index size);

  /// The rank up to which preconditioning, and the merges that keep it up to date, cost at most half of a
  /// product with the operator, which costs `operations`: 0, or a power of two, so that what was measured by a
  /// clock mostly gives the same.
  static Index rank_worth(double operations, Index size);

  template <class Scalar>
  void precondition(Scalar shift, const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& residual,
                    Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& step);

  /// Keeps a direction and its image while there is room.
  void note(const Vector& step, const Vector& image);

  /// How many more directions are worth a better preconditioner: what is left of the window while the last
  /// ones added to the rank of B, else as many as a solve may take.
  Index room() const { return growing_ ? directions_.cols() - num_new_ : directions_.rows(); }

  /// B takes in what was noted, once that is enough to be worth the price.
  void absorb();

  /// Drops what was noted, as it belongs to an operator of the past.
  void forget() { num_new_ = 0; }

  void state(Archive& archive);

  Index rank() const { return rank_; }
  /// The least eigenvalue of B that is not zero, and 1 if there is none: G is about that large across U.
  double least() const { return rank_ > 0 ? values_[0] : 1.0; }

 private:
  void merge();
  static void orthonormalize(MatrixRef S, MatrixRef R);

  Index max_rank_, rank_ = 0, num_new_ = 0;
  bool growing_;                // the last directions were new to B
  Matrix factor_;               // F = U theta^1/2
  Vector values_;               // theta, rising
  Matrix directions_, images_;  // P and Y
  Matrix coefficients_;         // of a preconditioned vector, real and imaginary part
  Matrix merged_, rest_, square_, known_, tall_, basis_, small_, rows_;  // of the merge
  SymmetricEigen eigen_;
};

}  // namespace grokflow
