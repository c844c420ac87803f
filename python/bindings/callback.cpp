#include "callback.hpp"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "arrays.hpp"

namespace grokflow {

py::object Callback::evaluate(std::initializer_list<py::object> arguments) const {
  if (!given()) throw std::runtime_error(std::string(name_) + " was cleared by the garbage collector");
  return call(function_, arguments);
}

py::object Callback::first(std::initializer_list<py::object> arguments, const Shape& shape,
                           double* out) const {
  const py::tuple pair = support("pair")(name_, evaluate(arguments));
  store(pair[0], shape, out);
  return pair[1];
}

bool Callback::optional(std::initializer_list<py::object> arguments, const Shape& shape, double* out) const {
  const py::object result = evaluate(arguments);
  if (!result.is_none()) store(result, shape, out);
  return !result.is_none();
}

namespace {

bool store_number(PyObject* object, double* out) {
  if (!PyFloat_Check(object)) return false;
  *out = PyFloat_AS_DOUBLE(object);
  return true;
}

/// Whether this is a list or tuple of so many floats; then they are stored.
bool store_numbers(PyObject* object, Index size, double* out) {
  if (!(PyList_Check(object) || PyTuple_Check(object)) || PySequence_Fast_GET_SIZE(object) != size)
    return false;
  PyObject** items = PySequence_Fast_ITEMS(object);
  return std::all_of(items, items + size, [&](PyObject* item) { return store_number(item, out++); });
}

}  // namespace

bool store(const char* name, const py::object& result, const Shape& shape, double* out) {
  if (shape.size() == 0 && store_number(result.ptr(), out)) return false;
  if (shape.size() == 1 && store_numbers(result.ptr(), shape[0], out)) return false;
  using DoubleArray = py::array_t<double, py::array::c_style>;
  const auto fits = [&](const py::handle& object) {
    if (!DoubleArray::check_(object)) return false;
    const auto* array = py::detail::array_proxy(object.ptr());
    return std::size_t(array->nd) == shape.size() &&
           std::equal(shape.begin(), shape.end(), array->dimensions);
  };
  py::object array = result;
  bool single = false;
  if (!fits(result)) {
    const py::tuple converted = support("convert")(name, result, py::tuple(py::cast(shape)));
    array = converted[0];
    single = converted[1].cast<bool>();
  }
  std::memcpy(out, py::detail::array_proxy(array.ptr())->data, std::size_t(size_of(shape)) * sizeof(double));
  return single;
}

void Callback::store(const py::object& result, const Shape& shape, double* out) const {
  if (grokflow::store(name_, result, shape, out) && !single_precision_.exchange(true))
    support("warn_precision")(name_);
}

void Callback::symmetrise(MatrixRef A) const {
  const double largest = std::max(A.cwiseAbs().maxCoeff(), largest_.load());
  double asymmetry = 0.0;
  for (Index j = 0; j < A.cols(); ++j)
    for (Index i = 0; i < j; ++i) {
      asymmetry = std::max(asymmetry, std::abs(A(i, j) - A(j, i)));  // nan: left to the solver
      A(i, j) = A(j, i) = 0.5 * (A(i, j) + A(j, i));
    }
  if (std::isfinite(largest)) largest_ = largest;
  const double tolerance = single_precision_ ? 1e-5 : 1e-8;
  if (asymmetry > tolerance * largest) support("raise_asymmetric")(name_, asymmetry / largest, tolerance);
}

}  // namespace grokflow
