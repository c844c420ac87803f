// A linear map column by column.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// Calls work(i, e_i) for all unit vectors of that size.
template <class Work>
void for_each_unit(Index size, Work&& work) {
  Vector unit = Vector::Zero(size);
  for (Index i = 0; i < size; ++i) {
    unit[i] = 1.0;
    work(i, static_cast<const Vector&>(unit));
    unit[i] = 0.0;
  }
}

}  // namespace grokflow
