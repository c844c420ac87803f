// Work cut into tiles that several threads share; see threads.hpp.
#pragma once

#include <algorithm>
#include <type_traits>

#include "grokflow/types.hpp"

namespace grokflow {

/// A block of an output: rows `row` .. `row + rows`, columns `col` .. `col + cols`.
struct Tile {
  Index row, rows, col, cols;

  template <class M>
  auto of(M&& matrix) const {
    return matrix.block(row, col, rows, cols);
  }
};

namespace parallel {

/// A thread is worth its start from about this many floating-point operations on (a tenth of a millisecond).
constexpr double kWorthwhile = 4e6;
/// Large enough for the full rate of a matrix product, small enough to give many threads work.
constexpr Index kTileRows = 256, kTileCols = 128, kTriangle = 192;

/// Calls call(object, i) for 0 <= i < count, on several threads if `shared`. An exception reaches the caller.
void run(Index count, bool shared, void (*call)(void* object, Index i), void* object);

/// An extent cut into `count` parts of `size` (the last may be smaller), each of at most about `limit`.
struct Cut {
  Cut(Index extent, Index limit)
      : extent(extent),
        count(std::max<Index>(1, (extent + limit - 1) / limit)),
        size((extent + count - 1) / count) {
    size = std::min(extent, (size + 7) / 8 * 8);  // whole vectors
    if (size > 0) count = (extent + size - 1) / size;
  }
  Index begin(Index i) const { return i * size; }
  Index length(Index i) const { return std::min(size, extent - begin(i)); }

  Index extent, count, size;
};

}  // namespace parallel

/// Calls work(i) for 0 <= i < count, in any order and at the same time where `flops`, the work of all calls,
/// is worth it. Calls must not write to the same memory.
template <class Work>
void parallel_for(Index count, double flops, Work&& work) {
  using Object = std::remove_reference_t<Work>;
  parallel::run(
      count, flops >= parallel::kWorthwhile,
      [](void* object, Index i) { (*static_cast<Object*>(object))(i); },
      const_cast<std::remove_const_t<Object>*>(&work));
}

/// Calls work(tile) for tiles that make up a rows x cols output, each entry of which costs `depth`
/// multiplications.
template <class Work>
void for_tiles(Index rows, Index cols, Index depth, Work&& work) {
  const parallel::Cut down(rows, parallel::kTileRows), across(cols, parallel::kTileCols);
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth);
  parallel_for(down.count * across.count, flops, [&](Index k) {
    const Index i = k % down.count, j = k / down.count;
    work(Tile{down.begin(i), down.length(i), across.begin(j), across.length(j)});
  });
}

/// Calls work(tile) for square tiles that make up the lower triangle of a size x size output; those on the
/// diagonal (row == col) reach into the upper one. No tile is larger than `limit`.
template <class Work>
void for_lower_tiles(Index size, Index depth, Index limit, Work&& work) {
  const parallel::Cut cut(size, limit);
  const double flops = static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(depth);
  parallel_for(cut.count * (cut.count + 1) / 2, flops, [&](Index k) {
    Index j = 0;  // column by column
    for (; k >= cut.count - j; ++j) k -= cut.count - j;
    const Index i = j + k;
    work(Tile{cut.begin(i), cut.length(i), cut.begin(j), cut.length(j)});
  });
}

}  // namespace grokflow
