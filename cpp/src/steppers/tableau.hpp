// Explicit Runge-Kutta methods as data.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// s stages k_i = f(w + h sum_j A_ij k_j), the step w + h sum_i b_i k_i of order p, its error h sum_i e_i
/// k_i. The last row of A is b, so that the last stage is the first of the next step. For a fraction x of the
/// step, w(x) = w + h sum_i (sum_m D_im x^(m+1)) k_i.
struct Tableau {
  int order;
  Matrix A;  ///< s x s, strictly lower
  Vector e;  ///< s
  Matrix D;  ///< s x 4
};

/// Tsitouras, Comput. Math. Appl. 62 (2011): order 5 with an error estimate of order 4, dense output of
/// order 4.
const Tableau& tsit5();

}  // namespace grokflow
