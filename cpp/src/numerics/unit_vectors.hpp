// A linear map column by column.
#pragma once

#include <memory>

#include "grokflow/workspace.hpp"

namespace grokflow {

/// Calls work(i, e_i) for all unit vectors of that size.
template <class Work>
void for_each_unit(Index size, Work&& work) {
  static WorkspacePool<Buffer> pool;
  const auto memory = pool.borrow([] { return std::make_unique<Buffer>(); });
  auto unit = memory->matrix(size, 1).col(0);
  unit.setZero();
  for (Index i = 0; i < size; ++i) {
    unit[i] = 1.0;
    work(i, ConstVectorRef(unit));
    unit[i] = 0.0;
  }
}

}  // namespace grokflow
