// The compiled half of grokflow: private, typed in _core.pyi. Python owns docstrings, defaults and
// validation.
#include <pybind11/pybind11.h>

#include <Eigen/Core>
#include <string>

#include "grokflow/threads.hpp"

namespace py = pybind11;

void bind_problem(py::module_& m);
void bind_models(py::module_& m);
void bind_callbacks(py::module_& m);
void bind_curvature(py::module_& m);
void bind_flow(py::module_& m);
void bind_limit(py::module_& m);

PYBIND11_MODULE(GROKFLOW_MODULE, m, py::mod_gil_not_used()) {
  m.attr("__version__") = GROKFLOW_VERSION;
  m.attr("__eigen_version__") = std::to_string(EIGEN_WORLD_VERSION) + "." +
                                std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                std::to_string(EIGEN_MINOR_VERSION);
  m.attr("has_threads") = grokflow::has_threads();
  m.def("num_threads", &grokflow::num_threads);
  m.def("set_num_threads", &grokflow::set_num_threads, py::arg("number"));
  bind_problem(m);
  bind_models(m);
  bind_callbacks(m);
  bind_curvature(m);
  bind_flow(m);
  bind_limit(m);
}
