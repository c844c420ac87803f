// NumPy arrays of their own, from what C++ holds.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

namespace py = pybind11;

using RowMajorMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Throws what NumPy says where there is no memory for it, which pybind11's own copy does not.
inline py::array_t<double> array_of(std::vector<py::ssize_t> shape, const double* values) {
  py::array_t<double> array(std::move(shape));
  std::copy_n(values, array.size(), array.mutable_data());
  return array;
}

inline py::array_t<double> copy_of(const ConstVectorRef& w) { return array_of({w.size()}, w.data()); }

inline py::array_t<double> vector_of(const std::vector<double>& values) {
  return array_of({static_cast<py::ssize_t>(values.size())}, values.data());
}

inline py::array_t<double> table_of(const std::vector<double>& values, Index columns) {
  return array_of({static_cast<py::ssize_t>(values.size()) / columns, columns}, values.data());
}

/// What is done in Python with a result of the user's function: a function of grokflow/_results.py.
inline py::object support(const char* name) { return py::module_::import("grokflow._results").attr(name); }

}  // namespace grokflow
