// A Python function of the user's as the solver calls it: arguments lent, the result checked and copied.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <initializer_list>

#include "callback_argument.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// To be used with the GIL held; whoever owns a Callback destroys it with the GIL held.
class Callback {
 public:
  Callback(const char* name, py::object function) : name_(name), function_(std::move(function)) {}

  const char* name() const { return name_; }
  bool given() const { return bool(function_); }

  /// Whether the arguments have to be private copies. They are in the first few calls; if one of these is
  /// kept, this function keeps its arguments, and gets copies for ever. Else it gets views from then on, and
  /// to keep one is an error.
  bool needs_copies() const { return keeps_arguments_ || trials_left_ > 0; }

  /// The result of `function(*arguments)`: entries of an array of that shape, row-major.
  void call(std::initializer_list<Argument*> arguments, std::initializer_list<Index> shape,
            double* out) const;

  /// Replaces A, n x n and contiguous, which this function returned, by (A + A^T)/2. A matrix that is far
  /// from symmetric is an error: a factorisation reads one triangle and would hide it.
  void symmetrise(MatrixRef A) const;

  py::object& function() { return function_; }

 private:
  void store(const py::object& result, std::initializer_list<Index> shape, double* out) const;

  const char* name_;
  py::object function_;
  mutable std::atomic<int> trials_left_{4};
  mutable std::atomic<bool> keeps_arguments_{false};
  mutable std::atomic<bool> single_precision_{false};
};

}  // namespace grokflow
