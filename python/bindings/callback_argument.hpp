// An argument of a Python function: a read-only NumPy array on memory that the solver owns.
//
// A view costs nothing that grows with its length, but is valid only during the call. Python functions keep
// their arguments all the same: a cache on purpose, an exception because its traceback holds the locals of
// the frames. Every way to keep a NumPy array (a name, a slice, a memoryview, a tensor of another library)
// holds a reference to the array object, so a reference count of one after the call proves that none is left.
#pragma once

#include <pybind11/numpy.h>

#include <utility>

#include "grokflow/types.hpp"

namespace grokflow {

namespace py = pybind11;

/// A read-only array with a copy of x, which anybody may keep.
py::array private_copy(const ConstVectorRef& x);

/// An argument of one call, or of a few calls in a row. To be used with the GIL held.
class Argument {
 public:
  /// A view on x, or a private copy of it.
  Argument(const char* name, const ConstVectorRef& x, bool copy);
  /// An array that is nobody's to change, such as the point of a linearisation.
  Argument(const char* name, py::array shared) : name_(name), array_(std::move(shared)), lent_(false) {}

  const char* name() const { return name_; }
  PyObject* ptr() const { return array_.ptr(); }
  /// References to the array; one of them is ours.
  Py_ssize_t references() const { return Py_REFCNT(array_.ptr()); }
  /// Whether the array shows memory of the solver.
  bool lent() const { return lent_; }

  /// After an exception: gives the frames of its traceback copies in place of this view and its parts.
  void release_from(const py::error_already_set& error);
  /// Moves the array object to memory of its own, for those who kept it against the rule. Parts of it
  /// (slices, memoryviews) cannot follow.
  void move_to_own_memory();

 private:
  const char* name_;
  py::array array_;
  bool lent_;
};

}  // namespace grokflow
