// The compiled half of grokflow: private, typed in _core.pyi. Python owns docstrings, defaults and validation.
// It needs the GIL: arguments of the user's functions are filled again where a reference count allows it.
#include <pybind11/pybind11.h>

#include <Eigen/Core>
#include <string>

#include "gil.hpp"
#include "grokflow/threads.hpp"
#include "grokflow/version.h"

namespace py = pybind11;

void bind_problem(py::module_& m);
void bind_callbacks(py::module_& m);
void bind_losses(py::module_& m);
void bind_run(py::module_& m);
void bind_limit(py::module_& m);
void bind_compiled(py::module_& m);
void bind_ode(py::module_& m);
void bind_testing(py::module_& m);

PYBIND11_MODULE(GROKFLOW_MODULE, m) {
  grokflow::main_thread();
  m.attr("__version__") = GROKFLOW_VERSION;
  m.attr("__eigen_version__") = std::to_string(EIGEN_WORLD_VERSION) + "." +
                                std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                std::to_string(EIGEN_MINOR_VERSION);
  m.attr("has_threads") = grokflow::has_threads();
  m.def("num_threads", &grokflow::num_threads);
  m.def("set_num_threads", &grokflow::set_num_threads, py::arg("number"));
  bind_problem(m);
  bind_callbacks(m);
  bind_losses(m);
  bind_run(m);
  bind_limit(m);
  bind_compiled(m);
  bind_ode(m);
  bind_testing(m);
}
