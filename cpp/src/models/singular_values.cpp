#include "numerics/singular_values.hpp"

#include <algorithm>

#include "grokflow/models/matrix_completion.hpp"
#include "numerics/orthogonal.hpp"
#include "numerics/products.hpp"

namespace grokflow {

void singular_values(const ConstMatrixRef& Ut, const ConstMatrixRef& Vt, VectorRef out) {
  // With U = Q R and V = Q' R', U V^T has the singular values of R R'^T.
  const Index width = Ut.rows();
  Matrix core;
  if (width < std::min(Ut.cols(), Vt.cols())) {
    core.resize(width, width);
    multiply_nt(triangular_factor(Ut.transpose()), triangular_factor(Vt.transpose()), core);
  } else {
    core.resize(Ut.cols(), Vt.cols());
    multiply_tn(Ut, Vt, core);
  }
  out = singular_values(core);
}

}  // namespace grokflow
