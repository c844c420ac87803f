#include <pybind11/pybind11.h>

#include "grokflow/problem.hpp"

namespace py = pybind11;

void bind_problem(py::module_& m) {
  py::class_<grokflow::Problem, std::shared_ptr<grokflow::Problem>>(m, "Problem");
}
