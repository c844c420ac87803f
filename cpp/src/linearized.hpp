// A problem frozen at a point, or an exception where it has not done so.
#pragma once

#include <memory>
#include <stdexcept>

#include "grokflow/problem.hpp"

namespace grokflow {

/// What `problem.linearize(w, lin)` has put into `lin`.
inline Linearization& linearized(const Problem& problem, const ConstVectorRef& w,
                                 std::unique_ptr<Linearization>& lin) {
  problem.linearize(w, lin);
  if (!lin) throw std::invalid_argument("Problem::linearize has left no linearisation");
  return *lin;
}

}  // namespace grokflow
