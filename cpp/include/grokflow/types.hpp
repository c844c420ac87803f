// The few types that every layer shares.
#pragma once

#include <Eigen/Core>
#include <complex>
#include <cstdint>
#include <string>

#include "grokflow/abi.hpp"

namespace grokflow {

using Index = Eigen::Index;
using Complex = std::complex<double>;
using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

/// Contiguous vectors and column-major matrices of any owner, passed without a copy.
using ConstVectorRef = Eigen::Ref<const Vector>;
using VectorRef = Eigen::Ref<Vector>;
using ConstMatrixRef = Eigen::Ref<const Matrix>;
using MatrixRef = Eigen::Ref<Matrix>;

/// How an integration ended, or that it has not ended yet.
enum class Status {
  running,            ///< steps remain to be taken
  finished,           ///< the end of the time span was reached
  event,              ///< a terminal event stopped the run
  max_steps,          ///< the limit on the number of steps was reached
  time_limit,         ///< the wall-clock limit was reached
  interrupted,        ///< the user asked to stop (Ctrl-C, or a callback that returned true)
  step_too_small,     ///< the step fell below the spacing of floating-point numbers
  non_finite,         ///< the right-hand side left the finite numbers, however small the step
  solver_failed,      ///< Newton or its linear solver failed, however small the step
  error_test_failed,  ///< the error estimate did not fall with the step: a noisy right-hand side
  mode_unresolved,    ///< a piecewise smooth flow met a point where no mode was found to go on in
  stationary,         ///< the drift came to rest at a KKT point
  rank_change,        ///< the rank of the Hessian changed on the way, and the run was to stop there
  left_manifold,      ///< a step could not be taken back to the manifold of minimisers, however small
  landed,             ///< the unregularised flow came so close to a minimiser that Newton's method takes over
  saddle,             ///< it came to rest where the Hessian has a negative eigenvalue
  degenerate,         ///< it approaches a point where the Hessian loses rank, at an algebraic rate
  no_minimiser,       ///< it runs away: the loss has no minimiser at finite w
};

/// Work done so far. A gradient flow and its problem count in the same units as SciPy and SUNDIALS.
struct Stats {
  std::int64_t nsteps = 0;      ///< accepted steps
  std::int64_t nrejected = 0;   ///< steps rejected by the error test
  std::int64_t nfailed = 0;     ///< steps given up by Newton's method
  std::int64_t nnonfinite = 0;  ///< steps that met a number that is not finite
  std::int64_t nfev = 0;        ///< right-hand sides (gradients)
  std::int64_t nlinearize = 0;  ///< linearisations (Jacobians frozen at a point)
  std::int64_t ngram = 0;       ///< kernels K = J J^T built
  std::int64_t nhessian = 0;    ///< dense d x d Hessians built
  std::int64_t nfactor = 0;     ///< factorisations, real or complex
  std::int64_t nsolve = 0;      ///< linear solves with a factorisation
  std::int64_t niter = 0;       ///< iterations of conjugate gradients and of MINRES in such solves
  std::int64_t njvp = 0;        ///< products J v
  std::int64_t nvjp = 0;        ///< products J^T u
  std::int64_t nhvp = 0;        ///< products Hess F v
  std::int64_t nproject = 0;    ///< projections on the kernel of the Hessian

  template <class Archive>
  void state(Archive& archive) {
    archive(nsteps, nrejected, nfailed, nnonfinite, nfev, nlinearize, ngram, nhessian, nfactor, nsolve, niter,
            njvp, nvjp, nhvp, nproject);
  }
};

}  // namespace grokflow
