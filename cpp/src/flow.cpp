#include "grokflow/flow.hpp"

namespace grokflow {

void Flow::rhs(const ConstVectorRef& w, VectorRef out) {
  if (checkpoint) checkpoint();
  ++stats_.nfev;
  compute_rhs(w, out);
}

void Flow::linearize(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  if (checkpoint) checkpoint();
  ++stats_.nlinearize;
  compute_linearization(w, lin);
}

}  // namespace grokflow
