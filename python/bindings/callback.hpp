// A function of the user's: its arguments, and its results, which are checked and copied.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <initializer_list>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "gil.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// Of an array, row-major; empty for a number.
using Shape = std::vector<Index>;

inline Index size_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<Index>());
}

/// An argument of the user's functions: an array of its own, read-only unless `writable`. It is filled again if
/// nobody else refers to it, and else left for ever to those who do: a reference count decides whether memory is
/// used again, never whether it is valid. There are two, so that a function which keeps its last argument costs no
/// new memory. With the GIL.
class Argument {
 public:
  explicit Argument(Shape shape, bool writable = false) : shape_(std::move(shape)), writable_(writable) {}
  Argument(const Argument&) = delete;
  ~Argument() {  // in any thread
    const py::handle arrays[] = {array_.release(), spare_.release()};
    if (!Py_IsInitialized()) return;  // the interpreter is gone, and its memory with it
    const Locked locked;
    for (const py::handle array : arrays) array.dec_ref();
  }

  /// The array, as it was filled last.
  const py::object& array() const { return array_; }

  const py::object& fill(const ConstVectorRef& x) {
    if (!is_free(array_)) std::swap(array_, spare_);
    if (!is_free(array_)) array_ = make();
    std::copy_n(x.data(), x.size(), reinterpret_cast<double*>(py::detail::array_proxy(array_.ptr())->data));
    return array_;
  }

 private:
  static bool is_free(const py::object& array) {
    return array && Py_REFCNT(array.ptr()) == 1 && !*PyObject_GET_WEAKREFS_LISTPTR(array.ptr());
  }

  py::array make() const {
    std::unique_ptr<double[]> memory(new double[static_cast<std::size_t>(size_of(shape_))]);
    const py::capsule owner(memory.get(), [](void* data) { delete[] static_cast<double*>(data); });
    const double* data = memory.release();
    // The base is no array, so NumPy refuses `flags.writeable = True` and another size, and every slice refers to
    // this array itself.
    py::array array(py::dtype::of<double>(), shape_, data, owner);
    if (!writable_) py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
  }

  Shape shape_;
  bool writable_;
  py::object array_, spare_;
};

/// Stores what the user's function `name` returned, which must be an array of that shape. Whether it was less than
/// double precision. With the GIL.
bool store(const char* name, const py::object& result, const Shape& shape, double* out);

/// A function of the user's, whose results are checked and copied. With the GIL.
class Callback {
 public:
  Callback(const char* name, py::object function) : name_(name), function_(std::move(function)) {}

  bool given() const { return bool(function_); }

  /// The result of `function(*arguments)`: entries of an array of that shape, row-major.
  void operator()(std::initializer_list<py::object> arguments, const Shape& shape, double* out) const {
    store(evaluate(arguments), shape, out);
  }
  /// The same where the result is a pair, whose first part is such an array: the second.
  py::object first(std::initializer_list<py::object> arguments, const Shape& shape, double* out) const;

  /// Whether the result is not None; then it is such an array.
  bool optional(std::initializer_list<py::object> arguments, const Shape& shape, double* out) const;

  /// Replaces A, n x n and contiguous, which this function returned, by (A + A^T)/2. A matrix that is far
  /// from symmetric is an error: a factorisation reads one triangle and would hide it. Far is measured against
  /// the largest matrix so far: where a Hessian sinks because its terms cancel, their round-off stays.
  void symmetrise(MatrixRef A) const;

  py::object& function() { return function_; }

  void store(const py::object& result, const Shape& shape, double* out) const;

 private:
  py::object evaluate(std::initializer_list<py::object> arguments) const;

  const char* name_;
  py::object function_;
  mutable std::atomic<bool> single_precision_{false};
  mutable std::atomic<double> largest_{0.0};  // entry of the matrices that this function returned
};

}  // namespace grokflow
