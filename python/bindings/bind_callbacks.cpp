// The problem written in Python. It owns functions that may refer back to it, so the garbage collector has
// to see them.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <vector>

#include "callback_problem.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

using NamedShape = std::tuple<std::string, std::vector<Index>>;
using RowMajorMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::shared_ptr<CallbackProblem> make_problem(Index num_params, Index num_residuals, double scale,
                                              const CallbackProblem::Functions& functions,
                                              const std::vector<NamedShape>& parameters) {
  std::vector<Block> blocks;
  Index begin = 0;
  for (const auto& [name, shape] : parameters) {
    blocks.push_back({name, begin, shape});
    begin += blocks.back().size();
  }
  return std::make_shared<CallbackProblem>(num_params, num_residuals, scale, functions, std::move(blocks));
}

RowMajorMatrix jacobian(const CallbackProblem& problem, const ConstVectorRef& w) {
  RowMajorMatrix J(problem.num_residuals(), problem.num_params());
  problem.jacobian(w, Eigen::Map<Matrix>(J.data(), J.cols(), J.rows()));
  return J;
}

// The problem, if its Python object is the only owner. Otherwise a solver uses it as well, whose references
// the collector cannot see: nothing may then be cleared, and the functions count as held from outside.
CallbackProblem* sole_owner(PyObject* self) {
  auto holder = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  if (!holder.holder_constructed()) return nullptr;
  const auto& problem = holder.holder<std::shared_ptr<CallbackProblem>>();
  return problem.use_count() == 1 ? problem.get() : nullptr;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (CallbackProblem* problem = sole_owner(self))
    for (Callback* callback : problem->callbacks()) Py_VISIT(callback->function().ptr());
  return 0;
}

int clear(PyObject* self) {
  if (CallbackProblem* problem = sole_owner(self))
    for (Callback* callback : problem->callbacks()) callback->function() = py::object();
  return 0;
}

void collect_garbage(PyHeapTypeObject* heap_type) {
  heap_type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  heap_type->ht_type.tp_traverse = traverse;
  heap_type->ht_type.tp_clear = clear;
}

}  // namespace

void bind_callbacks(py::module_& m) {
  py::class_<CallbackProblem, Problem, std::shared_ptr<CallbackProblem>>(
      m, "CallbackProblem", py::custom_type_setup(collect_garbage))
      .def(py::init(&make_problem), py::arg("num_params"), py::arg("num_residuals"), py::arg("scale"),
           py::arg("functions"), py::arg("parameters"))
      .def("given_jacobian", &jacobian, py::arg("w"), py::call_guard<py::gil_scoped_release>());

  // Makes the change of a dictionary `frame.f_locals` effective; from Python 3.13 on it is at once.
  m.def("store_locals", [](py::handle frame) {
#if PY_VERSION_HEX < 0x030D0000
    PyFrame_LocalsToFast(reinterpret_cast<PyFrameObject*>(frame.ptr()), 0);
#else
    (void)frame;
#endif
  });
}
