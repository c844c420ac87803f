// The d x d Hessian of a problem, by what it offers.
#pragma once

#include "grokflow/problem.hpp"

namespace grokflow {

/// H = Hess F, or its Gauss-Newton part c J^T J if the problem gives only residuals with J.
inline void form_hessian(const Problem& problem, const Linearization& lin, MatrixRef H, Stats& stats) {
  ++stats.nhessian;
  if (problem.has_hessian()) return lin.hessian(H);
  const Index n = problem.num_residuals();
  Matrix rows(problem.num_params(), n);
  Vector unit = Vector::Zero(n);
  for (Index i = 0; i < n; ++i) {
    unit[i] = 1.0;
    lin.vjp(unit, rows.col(i));
    unit[i] = 0.0;
  }
  stats.nvjp += n;
  H.noalias() = problem.scale() * rows * rows.transpose();
}

}  // namespace grokflow
