// Scratch memory for const functions: no allocation after warm-up, and safe from several threads.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// Memory for a matrix whose size differs from use to use: it grows, and never shrinks.
class Buffer {
 public:
  Eigen::Map<Matrix> matrix(Index rows, Index cols) {
    if (memory_.size() < rows * cols) memory_.resize(rows * cols);
    return {memory_.data(), rows, cols};
  }

 private:
  Vector memory_;
};

/// Lends objects of type T. A model keeps a `mutable WorkspacePool<Scratch> pool_` and writes
///
///   auto scratch = pool_.borrow([&] { return std::make_unique<Scratch>(n, m); });
///   scratch->Z.noalias() = ...;
///
/// The object goes back to the pool at the end of the scope. There are as many as threads used it at once.
template <class T>
class WorkspacePool {
  struct Return {
    WorkspacePool* pool;
    void operator()(T* object) const {
      std::lock_guard<std::mutex> lock(pool->mutex_);
      pool->free_.emplace_back(object);
    }
  };

 public:
  using Lease = std::unique_ptr<T, Return>;

  template <class Make>
  Lease borrow(Make&& make) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        T* object = free_.back().release();
        free_.pop_back();
        return Lease(object, Return{this});
      }
    }
    return Lease(make().release(), Return{this});
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
};

}  // namespace grokflow
