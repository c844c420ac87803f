// NumPy arrays of their own, from what C++ holds.
#pragma once

#include <pybind11/numpy.h>

#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

namespace py = pybind11;

inline py::array_t<double> copy_of(const ConstVectorRef& w) {
  return py::array_t<double>(w.size(), w.data());
}

inline py::array_t<double> vector_of(const std::vector<double>& values) {
  return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

inline py::array_t<double> table_of(const std::vector<double>& values, Index columns) {
  const auto rows = static_cast<py::ssize_t>(values.size()) / columns;
  return py::array_t<double>({rows, static_cast<py::ssize_t>(columns)}, values.data());
}

}  // namespace grokflow
