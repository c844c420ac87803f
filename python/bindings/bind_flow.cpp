// A run of an integrator, from Python: built once, then driven step by step or to its end with the GIL
// released.
#include <pybind11/eigen.h>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>

#include "grokflow/dense_flow.hpp"
#include "grokflow/gradient_flow.hpp"
#include "grokflow/record.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

const char* status_word(Status status) {
  switch (status) {
    case Status::running:
      return "running";
    case Status::finished:
      return "finished";
    case Status::event:
      return "event";
    case Status::max_steps:
      return "max_steps";
    case Status::time_limit:
      return "time_limit";
    case Status::interrupted:
      return "interrupted";
    case Status::step_too_small:
      return "step_too_small";
    case Status::non_finite:
      return "non_finite";
    case Status::solver_failed:
      return "solver_failed";
    case Status::error_test_failed:
      return "error_test_failed";
  }
  return "unknown";
}

CurvatureKind curvature_kind(const std::string& name) {
  for (CurvatureKind kind : {CurvatureKind::automatic, CurvatureKind::gram, CurvatureKind::dense})
    if (name == to_string(kind)) return kind;
  throw std::invalid_argument("unknown curvature '" + name + "'");
}

Decay make_decay(const std::vector<std::tuple<Index, Index, double>>& rates) {
  std::vector<std::pair<Decay::Range, double>> ranges;
  for (const auto& [begin, end, rate] : rates) ranges.push_back({{begin, end}, rate});
  return Decay(ranges);
}

/// A Python callable held by C++: its last reference may fall in any thread.
std::shared_ptr<py::object> hold(py::object callable) {
  return {new py::object(std::move(callable)), [](py::object* object) {
            py::gil_scoped_acquire locked;
            delete object;
          }};
}

/// An array of its own, which the callable may keep.
py::array_t<double> copy_of(const ConstVectorRef& w) { return py::array_t<double>(w.size(), w.data()); }

/// Ctrl-C and other signals are looked at every 50 ms on Python's main thread, the only one that it takes
/// them on.
class SignalCheck {
 public:
  SignalCheck()
      : main_thread_(
            py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>()) {}

  void operator()() {
    if (PyThread_get_thread_ident() != main_thread_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    py::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }

 private:
  unsigned long main_thread_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::string got(const py::object& value) { return py::repr(value).cast<std::string>(); }

/// What an event returned, as a number.
double number_from(const py::object& value, const std::string& name, double t) {
  const double number = PyFloat_AsDouble(value.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(name + " returned " + got(value) + " at t = " + std::to_string(t) +
                         "; it must return a number");
  }
  if (std::isnan(number)) throw py::value_error(name + " returned nan at t = " + std::to_string(t));
  return number;
}

/// What a callback returned, as a wish to stop.
bool answer_from(const py::object& value) {
  if (value.is_none() || value.is(py::bool_(false))) return false;
  if (value.is(py::bool_(true))) return true;
  const py::object numpy_bool = py::module_::import("numpy").attr("bool_");
  if (py::isinstance(value, numpy_bool)) return value.cast<bool>();
  throw py::type_error("callback returned " + got(value) +
                       "; it must return True to stop, or None or False to go on");
}

struct RunOptions {
  double t0, t1, rtol;
  Vector atol;
  std::string method;
  int max_order;
  Limits limits;
  py::object sample_times;  // "log", None or an array
  bool keep_states;
  std::vector<std::tuple<std::string, py::object>>
      observables;                                       // name, and a quantity's name or a function f(t, w)
  std::vector<std::tuple<py::object, int, int>> events;  // value, direction, terminal
  py::object callback;
};

SampleTimes sample_times(const py::object& when) {
  if (when.is_none()) return SampleTimes::steps();
  if (py::isinstance<py::str>(when)) return SampleTimes::log();
  return SampleTimes::given(when.cast<std::vector<double>>());
}

/// The quantity of a problem that has this name.
Observable observable(const std::string& name, const std::string& quantity,
                      const std::vector<Quantity>& quantities) {
  for (const Quantity& known : quantities) {
    if (known.name != quantity) continue;
    const auto evaluate = [evaluate = known.evaluate](double, const ConstVectorRef& w, VectorRef out) {
      evaluate(w, out);
    };
    return {name, known.size, evaluate};
  }
  throw std::invalid_argument("unknown observable '" + quantity + "'");
}

/// A function f(t, w) of Python: a number or a vector, of the size that it has at first.
Observable observable(const std::string& name, const py::object& function, double t0, const Vector& w0) {
  const auto call = [name, held = hold(function)](double t, const ConstVectorRef& w) {
    const auto value =
        py::array_t<double, py::array::c_style | py::array::forcecast>::ensure((*held)(t, copy_of(w)));
    if (!value) throw py::error_already_set();
    if (value.ndim() > 1) throw py::value_error("observable '" + name + "' must return a number or a vector");
    return value;
  };
  const auto first = call(t0, w0);
  const auto ndim = first.ndim(), entries = first.size();
  const auto evaluate = [name, call, ndim, entries](double t, const ConstVectorRef& w, VectorRef out) {
    py::gil_scoped_acquire locked;
    const auto value = call(t, w);
    if (value.ndim() != ndim || value.size() != entries)
      throw py::value_error("observable '" + name + "' returned " + std::to_string(value.size()) +
                            " entries at t = " + std::to_string(t) + ", but " + std::to_string(entries) +
                            " at first");
    out = Eigen::Map<const Vector>(value.data(), entries);
  };
  return {name, ndim == 0 ? 0 : entries, evaluate};
}

class FlowRun {
 public:
  FlowRun(std::shared_ptr<Flow> flow, const std::vector<Quantity>& quantities, const Vector& w0,
          const RunOptions& options)
      : flow_(std::move(flow)) {
    std::vector<Observable> observables;
    for (const auto& [name, what] : options.observables)
      observables.push_back(py::isinstance<py::str>(what)
                                ? observable(name, what.cast<std::string>(), quantities)
                                : observable(name, what, options.t0, w0));
    std::vector<Event> events;
    for (const auto& [function, direction, terminal] : options.events) {
      const std::string name = "events[" + std::to_string(events.size()) + "]";
      auto value = [name, held = hold(function)](double t, const ConstVectorRef& w) {
        py::gil_scoped_acquire locked;
        return number_from((*held)(t, copy_of(w)), name, t);
      };
      events.push_back({value, direction, terminal, {}, {}});
    }
    Run::Callback callback;
    if (!options.callback.is_none()) {
      callback = [held = hold(options.callback)](double t, const ConstVectorRef& w) {
        py::gil_scoped_acquire locked;
        return answer_from((*held)(t, copy_of(w)));
      };
    }
    recorder_ = std::make_unique<Recorder>(flow_->size(), std::move(observables), options.keep_states,
                                           sample_times(options.sample_times));
    flow_->checkpoint = SignalCheck();
    py::gil_scoped_release unlocked;
    const Tolerance tolerance(options.rtol, options.atol);
    auto stepper = options.method == "Radau" ? make_radau(*flow_, tolerance)
                                             : make_bdf(*flow_, {tolerance, options.max_order});
    integrator_ =
        std::make_unique<Integrator>(*flow_, std::move(stepper), w0, options.t0, options.t1, options.limits);
    run_ = std::make_unique<Run>(*integrator_, *recorder_, std::move(events), std::move(callback));
  }

  /// One step, or as many as there are.
  const char* advance(bool to_end) {
    if (busy_.exchange(true))
      throw std::runtime_error("this integrator is in use by another thread, or by its own callback");
    struct Release {
      std::atomic<bool>& busy;
      ~Release() { busy = false; }
    } release{busy_};
    driver_ = std::this_thread::get_id();
    if (!to_end && run_->status() != Status::running)
      throw std::runtime_error("the integration has ended: " + integrator_->message());
    py::gil_scoped_release unlocked;
    do {
      run_->step();
    } while (to_end && run_->status() == Status::running);
    return status_word(run_->status());
  }

  Flow& flow() { return check_access(), *flow_; }
  const Integrator& integrator() const { return check_access(), *integrator_; }
  const Recorder& recorder() const { return check_access(), *recorder_; }
  const Run& run() const { return check_access(), *run_; }

 private:
  std::shared_ptr<Flow> flow_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Integrator> integrator_;
  std::unique_ptr<Run> run_;
  /// While one thread drives the run, without the GIL, no other may look: what it would see is being written.
  void check_access() const {
    if (busy_ && driver_ != std::this_thread::get_id())
      throw std::runtime_error("this integrator is in use by another thread");
  }

  std::atomic<bool> busy_{false};
  std::atomic<std::thread::id> driver_{};
};

py::array_t<double> vector_of(const std::vector<double>& values) {
  return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::array_t<double> table_of(const std::vector<double>& values, Index columns) {
  const auto rows = static_cast<py::ssize_t>(values.size()) / columns;
  return py::array_t<double>({rows, static_cast<py::ssize_t>(columns)}, values.data());
}

py::dict stats_of(FlowRun& run) {
  const Stats& s = run.flow().stats();
  py::dict out;
  out["nsteps"] = s.nsteps;
  out["nrejected"] = s.nrejected;
  out["nfailed"] = s.nfailed;
  out["nnonfinite"] = s.nnonfinite;
  out["nfev"] = s.nfev;
  out["nlinearize"] = s.nlinearize;
  out["ngram"] = s.ngram;
  out["nhessian"] = s.nhessian;
  out["nfactor"] = s.nfactor;
  out["nsolve"] = s.nsolve;
  out["njvp"] = s.njvp;
  out["nvjp"] = s.nvjp;
  out["nhvp"] = s.nhvp;
  return out;
}

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

std::unique_ptr<FlowRun> gradient_flow(std::shared_ptr<Problem> problem, const Vector& w0,
                                       const std::vector<std::tuple<Index, Index, double>>& decay,
                                       const std::string& curvature, double memory_budget,
                                       const RunOptions& options) {
  const auto quantities = problem->quantities();
  auto flow = std::make_shared<GradientFlow>(std::move(problem), make_decay(decay), curvature_kind(curvature),
                                             memory_budget);
  return std::make_unique<FlowRun>(flow, quantities, w0, options);
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
      .def("stats", &stats_of);

  m.def("curvature_of", [](const Problem& problem, const std::string& curvature, double memory_budget) {
    return to_string(choose_curvature(problem, curvature_kind(curvature), memory_budget));
  });
  m.def("gradient_flow", &gradient_flow, py::arg("problem"), py::arg("w0"), py::arg("decay"),
        py::arg("curvature"), py::arg("memory_budget"), py::arg("options"), py::keep_alive<0, 1>());
  m.def("dense_flow", &dense_flow, py::arg("field"), py::arg("jacobian"), py::arg("w0"), py::arg("options"));
}
