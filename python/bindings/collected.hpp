// Objects of C++ that refer to Python's, for the garbage collector.
#pragma once

#include <pybind11/pybind11.h>

namespace grokflow {

/// What a Python object of the bound class T holds; null while Python makes it.
template <class T>
T* object_of(PyObject* self) {
  auto made = reinterpret_cast<pybind11::detail::instance*>(self)->get_value_and_holder();
  return made.holder_constructed() ? made.value_ptr<T>() : nullptr;
}

}  // namespace grokflow
