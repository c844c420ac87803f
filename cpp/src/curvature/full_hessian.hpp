// The d x d Hessian of a problem, by what it offers.
#pragma once

#include "grokflow/problem.hpp"
#include "numerics/symmetric.hpp"
#include "numerics/unit_vectors.hpp"

namespace grokflow {

/// H = Hess F, or its Gauss-Newton part c J^T J if the problem gives only residuals with J.
inline void form_hessian(const Problem& problem, const Linearization& lin, MatrixRef H, Stats& stats) {
  ++stats.nhessian;
  if (problem.has_hessian()) return lin.hessian(H);
  const Index n = problem.num_residuals();
  Matrix rows(problem.num_params(), n);
  for_each_unit(n, [&](Index i, const ConstVectorRef& unit) {
    lin.check();
    lin.vjp(unit, rows.col(i));
  });
  stats.nvjp += n;
  row_gram(rows, H);
  H *= problem.scale();
}

}  // namespace grokflow
