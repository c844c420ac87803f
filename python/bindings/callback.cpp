#include "callback.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace grokflow {

namespace {

using DoubleArray = py::array_t<double, py::array::c_style>;

py::object support(const char* name) { return py::module_::import("grokflow._callback_support").attr(name); }

}  // namespace

void Callback::call(std::initializer_list<Argument*> arguments, std::initializer_list<Index> shape,
                    double* out) const {
  if (!given()) throw std::runtime_error(std::string(name_) + " was cleared by the garbage collector");
  PyObject* stack[3] = {};  // the first belongs to the callee
  Py_ssize_t before[2];
  std::size_t count = 0;
  for (const Argument* argument : arguments) {
    before[count] = argument->references();
    stack[++count] = argument->ptr();
  }
  try {
    const auto result = py::reinterpret_steal<py::object>(
        PyObject_Vectorcall(function_.ptr(), stack + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    if (!result) throw py::error_already_set();
    store(result, shape, out);
  } catch (const py::error_already_set& error) {
    for (Argument* argument : arguments) argument->release_from(error);
    throw;
  }
  if (trials_left_ > 0) --trials_left_;
  const char* kept_view = nullptr;
  count = 0;
  for (Argument* argument : arguments) {
    if (argument->references() <= before[count++]) continue;
    if (argument->lent()) {
      argument->move_to_own_memory();
      kept_view = argument->name();
    } else {
      keeps_arguments_ = true;
    }
  }
  if (kept_view) support("raise_kept")(name_, kept_view);
}

void Callback::store(const py::object& result, std::initializer_list<Index> shape, double* out) const {
  if (shape.size() == 0 && PyFloat_Check(result.ptr())) {
    *out = PyFloat_AS_DOUBLE(result.ptr());
    return;
  }
  const auto fits = [&](const py::handle& object) {
    if (!DoubleArray::check_(object)) return false;
    const auto* array = py::detail::array_proxy(object.ptr());
    return std::size_t(array->nd) == shape.size() &&
           std::equal(shape.begin(), shape.end(), array->dimensions);
  };
  py::object array = result;
  if (!fits(result)) {
    const py::tuple converted =
        support("convert")(name_, result, py::tuple(py::cast(std::vector<Index>(shape))));
    array = converted[0];
    if (converted[1].cast<bool>() && !single_precision_.exchange(true)) support("warn_precision")(name_);
  }
  const Index size = std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<Index>());
  std::memcpy(out, py::detail::array_proxy(array.ptr())->data, std::size_t(size) * sizeof(double));
}

void Callback::symmetrise(MatrixRef A) const {
  const double largest = A.cwiseAbs().maxCoeff();
  double asymmetry = 0.0;
  for (Index j = 0; j < A.cols(); ++j)
    for (Index i = 0; i < j; ++i) {
      asymmetry = std::max(asymmetry, std::abs(A(i, j) - A(j, i)));  // nan: left to the solver
      A(i, j) = A(j, i) = 0.5 * (A(i, j) + A(j, i));
    }
  const double tolerance = single_precision_ ? 1e-5 : 1e-8;
  if (asymmetry > tolerance * largest) support("raise_asymmetric")(name_, asymmetry / largest, tolerance);
}

}  // namespace grokflow
