// Flows and their runs, as Python sees them.
#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "arrays.hpp"
#include "flow_run.hpp"
#include "grokflow/dense_flow.hpp"
#include "grokflow/gradient_flow.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

py::dict observed_of(const FlowRun& run) {
  py::dict out;
  const auto& observables = run.recorder().observables();
  for (std::size_t i = 0; i < observables.size(); ++i) {
    const auto& values = run.recorder().values(i);
    out[py::str(observables[i].name)] =
        observables[i].size == 0 ? vector_of(values) : table_of(values, observables[i].size);
  }
  return out;
}

std::unique_ptr<FlowRun> gradient_flow(std::shared_ptr<Problem> problem, const Vector& w0, const Rates& decay,
                                       const std::string& curvature, double memory_budget, Index rank,
                                       const RunOptions& options) {
  const auto quantities = problem->quantities();
  const Decay rates = make_decay(decay);
  std::unique_ptr<Modes> modes;
  std::shared_ptr<const Problem> smooth = problem;
  if (const auto* kinked = piecewise(*problem)) {
    kinked->require_decay(rates);
    const std::shared_ptr<Piece> piece = kinked->make_piece();
    modes = std::make_unique<Modes>(piece, gradient_forces(*piece), Tolerance(options.rtol, options.atol));
    smooth = piece;
  }
  auto flow = std::make_shared<GradientFlow>(smooth, rates, curvature_kind(curvature),
                                             CurvatureOptions{memory_budget, rank});
  return std::make_unique<FlowRun>(flow, quantities, w0, options, Run::Watch{}, std::move(modes));
}

/// (t, unit, surface, kind) of each change of mode.
py::list mode_changes_of(const FlowRun& run) {
  py::list out;
  if (!run.modes()) return out;
  for (const ModeChange& change : run.modes()->changes())
    out.append(py::make_tuple(change.t, change.unit, change.sample, to_string(change.kind)));
  return out;
}

std::unique_ptr<FlowRun> dense_flow(py::object field, py::object jacobian, const Vector& w0,
                                    const RunOptions& options) {
  using Array = py::array_t<double, py::array::f_style | py::array::forcecast>;
  auto f = [held = hold(std::move(field))](const ConstVectorRef& w, VectorRef out) {
    py::gil_scoped_acquire locked;
    const Array value((*held)(copy_of(w)));
    if (value.size() != out.size()) throw py::value_error("f returned an array of the wrong size");
    out = Eigen::Map<const Vector>(value.data(), out.size());
  };
  auto j = [held = hold(std::move(jacobian))](const ConstVectorRef& w, MatrixRef out) {
    py::gil_scoped_acquire locked;
    const Array value((*held)(copy_of(w)));
    if (value.size() != out.size()) throw py::value_error("jacobian returned an array of the wrong size");
    out = Eigen::Map<const Matrix>(value.data(), out.rows(), out.cols());
  };
  return std::make_unique<FlowRun>(std::make_shared<DenseFlow>(w0.size(), f, j), std::vector<Quantity>{}, w0,
                                   options);
}

}  // namespace

void bind_flow(py::module_& m) {
  py::class_<RunOptions>(m, "RunOptions")
      .def(py::init([](double t0, double t1, double rtol, Vector atol, std::string method, int max_order,
                       double first_step, double max_step, std::int64_t max_steps, double max_time,
                       py::object sample_times, bool keep_states,
                       std::vector<std::tuple<std::string, py::object>> observables,
                       std::vector<std::tuple<py::object, int, int>> events, py::object callback) {
             return RunOptions{t0,
                               t1,
                               rtol,
                               std::move(atol),
                               std::move(method),
                               max_order,
                               {first_step, max_step, max_steps, max_time},
                               std::move(sample_times),
                               keep_states,
                               std::move(observables),
                               std::move(events),
                               std::move(callback)};
           }),
           py::kw_only(), py::arg("t0"), py::arg("t1"), py::arg("rtol"), py::arg("atol"), py::arg("method"),
           py::arg("max_order"), py::arg("first_step"), py::arg("max_step"), py::arg("max_steps"),
           py::arg("max_time"), py::arg("sample_times"), py::arg("keep_states"), py::arg("observables"),
           py::arg("events"), py::arg("callback"));

  py::class_<FlowRun>(m, "FlowRun")
      .def("advance", &FlowRun::advance, py::arg("to_end"))
      .def_property_readonly("status", [](const FlowRun& run) { return status_word(run.run().status()); })
      .def_property_readonly("message", [](const FlowRun& run) { return run.integrator().message(); })
      .def_property_readonly("t", [](const FlowRun& run) { return run.run().t(); })
      .def_property_readonly("w", [](const FlowRun& run) { return copy_of(run.run().w()); })
      .def_property_readonly("previous_t", [](const FlowRun& run) { return run.integrator().previous_t(); })
      .def_property_readonly("order", [](const FlowRun& run) { return run.integrator().order(); })
      .def("interpolate",
           [](const FlowRun& run, double t) {
             Vector w(run.run().w().size());
             run.integrator().interpolate(t, w);
             return w;
           })
      .def("times", [](const FlowRun& run) { return vector_of(run.recorder().times()); })
      .def("states",
           [](const FlowRun& run) { return table_of(run.recorder().states(), run.run().w().size()); })
      .def("observed", &observed_of)
      .def("events",
           [](const FlowRun& run) {
             py::list out;
             for (const Event& event : run.run().events())
               out.append(
                   py::make_tuple(vector_of(event.times), table_of(event.states, run.run().w().size())));
             return out;
           })
      .def("mode_changes", &mode_changes_of)
      .def("stats", [](FlowRun& run) { return dict_of(run.flow().stats()); });

  m.def("is_piecewise", [](const Problem& problem) { return piecewise(problem) != nullptr; });
  m.def("curvature_of", [](const Problem& problem, const std::string& curvature, double memory_budget) {
    return to_string(choose_curvature(problem, curvature_kind(curvature), memory_budget));
  });
  m.def("gradient_flow", &gradient_flow, py::arg("problem"), py::arg("w0"), py::arg("decay"),
        py::arg("curvature"), py::arg("memory_budget"), py::arg("rank"), py::arg("options"),
        py::keep_alive<0, 1>());
  m.def("dense_flow", &dense_flow, py::arg("field"), py::arg("jacobian"), py::arg("w0"), py::arg("options"));
}
