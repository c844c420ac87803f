#include "flow_run.hpp"

#include <pybind11/eigen.h>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cmath>
#include <stdexcept>

#include "arrays.hpp"

namespace grokflow {
namespace {

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

/// The stepper for a flow, by the name of a method.
std::unique_ptr<Stepper> make_stepper(Flow& flow, const RunOptions& options, Modes* modes) {
  const Tolerance tolerance(options.rtol, options.atol);
  if (modes) {
    auto method = options.method == "Tsit5" ? make_tsit5(flow, tolerance) : make_radau(flow, tolerance);
    return make_piecewise(flow, std::move(method), *modes, options.t0);
  }
  if (options.method == "Tsit5") return make_tsit5(flow, tolerance);
  if (options.method == "ROCK2") return make_rock2(flow, tolerance);
  if (options.method == "Radau") return make_radau(flow, tolerance);
  return make_bdf(flow, {tolerance, options.max_order});
}

}  // namespace

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
    case Status::mode_unresolved:
      return "mode_unresolved";
    case Status::stationary:
      return "stationary";
    case Status::rank_change:
      return "rank_change";
    case Status::left_manifold:
      return "left_manifold";
    case Status::landed:
      return "landed";
    case Status::saddle:
      return "saddle";
    case Status::degenerate:
      return "degenerate";
    case Status::no_minimiser:
      return "no_minimiser";
  }
  return "unknown";
}

CurvatureKind curvature_kind(const std::string& name) {
  for (CurvatureKind kind : {CurvatureKind::automatic, CurvatureKind::gram, CurvatureKind::dense,
                             CurvatureKind::krylov, CurvatureKind::none})
    if (name == to_string(kind)) return kind;
  throw std::invalid_argument("unknown curvature '" + name + "'");
}

Decay make_decay(const Rates& rates) {
  std::vector<std::pair<Decay::Range, double>> ranges;
  for (const auto& [begin, end, rate] : rates) ranges.push_back({{begin, end}, rate});
  return Decay(ranges);
}

std::shared_ptr<py::object> hold(py::object callable) {
  return {new py::object(std::move(callable)), [](py::object* object) {
            py::gil_scoped_acquire locked;
            delete object;
          }};
}

std::function<void()> signal_check() { return SignalCheck(); }

py::dict dict_of(const Stats& s) {
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
  out["niter"] = s.niter;
  out["njvp"] = s.njvp;
  out["nvjp"] = s.nvjp;
  out["nhvp"] = s.nhvp;
  out["nproject"] = s.nproject;
  return out;
}

FlowRun::FlowRun(std::shared_ptr<Flow> flow, const std::vector<Quantity>& quantities, const Vector& w0,
                 const RunOptions& options, Run::Watch watch, std::unique_ptr<Modes> modes)
    : flow_(std::move(flow)), modes_(std::move(modes)) {
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
  flow_->checkpoint = signal_check();
  py::gil_scoped_release unlocked;
  integrator_ = std::make_unique<Integrator>(*flow_, make_stepper(*flow_, options, modes_.get()), w0,
                                             options.t0, options.t1, options.limits);
  run_ = std::make_unique<Run>(*integrator_, *recorder_, std::move(events), std::move(callback),
                               std::move(watch));
}

const char* FlowRun::advance(bool to_end) {
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

void FlowRun::check_access() const {
  if (busy_ && driver_ != std::this_thread::get_id())
    throw std::runtime_error("this integrator is in use by another thread");
}

}  // namespace grokflow
