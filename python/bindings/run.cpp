// Runs, from Python: made once, then driven step by step or to their end with the GIL released.
#include "run.hpp"

#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cmath>
#include <stdexcept>

#include "arrays.hpp"
#include "collected.hpp"
#include "grokflow/status.hpp"

namespace grokflow {
namespace {

class SignalCheck {
 public:
  void operator()() {
    if (PyThread_get_thread_ident() != main_thread()) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    const Locked locked;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }

 private:
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

/// A function f(t, w) of Python: a number or a vector, of the size that it has at first.
Observable observable(const std::string& name, const Held& function, double t0, const Vector& w0) {
  const auto call = [name, function](double t, const ConstVectorRef& w) {
    return support("observed")(name, function({py::float_(t), copy_of(w)})).cast<py::array_t<double>>();
  };
  const auto first = call(t0, w0);
  const auto ndim = first.ndim(), entries = first.size();
  const auto evaluate = [name, call, ndim, entries](double t, const ConstVectorRef& w, VectorRef out) {
    const Locked locked;
    const auto value = call(t, w);
    if (value.ndim() != ndim || value.size() != entries)
      throw py::value_error("observable '" + name + "' returned " + std::to_string(value.size()) +
                            " entries at t = " + std::to_string(t) + ", but " + std::to_string(entries) +
                            " at first");
    out = Eigen::Map<const Vector>(value.data(), entries);
  };
  return {name, ndim == 0 ? 0 : entries, evaluate};
}

Event event(const std::string& name, const Held& function, int direction, int terminal) {
  const auto value = [name, function](double t, const ConstVectorRef& w) {
    const Locked locked;
    return number_from(function({py::float_(t), copy_of(w)}), name, t);
  };
  return {value, direction, terminal, {}, {}};
}

}  // namespace

CurvatureKind curvature_kind(const std::string& name) {
  for (CurvatureKind kind : {CurvatureKind::automatic, CurvatureKind::gram, CurvatureKind::dense,
                             CurvatureKind::krylov, CurvatureKind::adaptive, CurvatureKind::none})
    if (name == to_string(kind)) return kind;
  throw std::invalid_argument("unknown curvature '" + name + "'");
}

Decay make_decay(const Rates& rates) {
  std::vector<std::pair<Decay::Range, double>> ranges;
  for (const auto& [begin, end, rate] : rates) ranges.push_back({{begin, end}, rate});
  return Decay(ranges);
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

Prepared::Prepared(const RunRequest& request, const Strategy& strategy, const Vector& w0, Problem* given,
                   const std::shared_ptr<const Regularizer>& regularizer)
    : options(request.options) {
  const auto hold = [this](py::object object) { return holds.emplace_back(std::move(object)); };
  if (given) problem = share(*given, holds.emplace_back(py::none()));
  std::string curvature;
  std::tie(curvature, options.solves.memory_budget, options.solves.rank) = strategy;
  options.curvature = curvature_kind(curvature);
  for (const auto& [name, what] : request.observables) {
    if (!py::isinstance<py::str>(what))
      options.observables.push_back(observable(name, hold(what), options.t0, w0));
    else if (regularizer && what.cast<std::string>() == "regularizer")
      options.observables.push_back(observe(regularizer, name));
    else
      options.observables.push_back(observe(problem, what.cast<std::string>(), name));
  }
  for (const auto& [function, direction, terminal] : request.events) {
    const std::string name = "events[" + std::to_string(options.events.size()) + "]";
    options.events.push_back(event(name, hold(function), direction, terminal));
  }
  if (!request.callback.is_none()) {
    options.callback = [function = hold(request.callback)](double t, const ConstVectorRef& w) {
      const Locked locked;
      return answer_from(function({py::float_(t), copy_of(w)}));
    };
  }
  options.checkpoint = signal_check();
}

const char* HeldRun::advance(bool to_end) {
  if (busy_.exchange(true))
    throw std::runtime_error("this integrator is in use by another thread, or by its own callback");
  struct Release {
    std::atomic<bool>& busy;
    ~Release() { busy = false; }
  } release{busy_};
  driver_ = std::this_thread::get_id();
  FlowRun& driven = run();
  if (!to_end && driven.status() != Status::running)
    throw std::runtime_error("the integration has ended: " + driven.message());
  const Unlocked unlocked;
  return to_string(to_end ? driven.advance() : driven.step());
}

void HeldRun::save(const py::function& write) const {
  constexpr std::size_t piece = 1 << 16;
  std::vector<char> buffer;
  const auto flush = [&] {
    if (!buffer.empty())
      write(py::memoryview::from_memory(buffer.data(), static_cast<py::ssize_t>(buffer.size())));
    buffer.clear();
  };
  Archive archive = Archive::writer([&](const void* data, std::size_t size) {
    if (buffer.size() + size > piece) flush();
    if (size > piece)
      write(py::memoryview::from_memory(data, static_cast<py::ssize_t>(size)));
    else
      buffer.insert(buffer.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
  });
  run().state(archive);
  flush();
}

void HeldRun::load(const py::function& readinto) {
  FlowRun& driven = run();
  const Unlocked unlocked;
  Archive archive = Archive::reader([&](void* data, std::size_t size) {
    const Locked locked;
    const auto view = py::memoryview::from_memory(data, static_cast<py::ssize_t>(size));
    if (readinto(view).cast<std::size_t>() != size) throw ArchiveError("the state ends too soon");
  });
  driven.state(archive);
}

FlowRun& HeldRun::run() const {
  if (busy_ && driver_ != std::this_thread::get_id())
    throw std::runtime_error("this integrator is in use by another thread");
  if (!run_) throw std::runtime_error("this integrator was cleared by the garbage collector");
  return *run_;
}

int HeldRun::traverse(visitproc visit, void* arg) const {
  for (const Held& held : holds_) Py_VISIT(held.object().ptr());
  return 0;
}

void HeldRun::clear() {
  run_.reset();
  holds_.clear();
}

}  // namespace grokflow

namespace {

using namespace grokflow;

void collect_garbage(PyHeapTypeObject* type) {
  type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    const HeldRun* held = object_of<HeldRun>(self);
    return held ? held->traverse(visit, arg) : 0;
  };
  type->ht_type.tp_clear = [](PyObject* self) {
    if (HeldRun* held = object_of<HeldRun>(self)) held->clear();
    return 0;
  };
}

py::dict observed_of(const HeldRun& held) {
  const Recorder& recorder = held.run().recorder();
  py::dict out;
  for (std::size_t i = 0; i < recorder.observables().size(); ++i) {
    const auto& [name, size, evaluate] = recorder.observables()[i];
    out[py::str(name)] = size == 0 ? vector_of(recorder.values(i)) : table_of(recorder.values(i), size);
  }
  return out;
}

/// The times and states of each event.
py::list events_of(const HeldRun& held) {
  py::list out;
  for (const Event& event : held.run().events())
    out.append(py::make_tuple(vector_of(event.times), table_of(event.states, held.run().w().size())));
  return out;
}

/// (t, unit, surface, kind) of each change of mode.
py::list mode_changes_of(const HeldRun& held) {
  py::list out;
  for (const ModeChange& change : held.run().mode_changes())
    out.append(py::make_tuple(change.t, change.unit, change.sample, to_string(change.kind)));
  return out;
}

std::unique_ptr<HeldRun> gradient_flow(Problem& problem, const Vector& w0, const Rates& decay,
                                       const std::string& curvature, double memory_budget, Index rank,
                                       const RunRequest& request, const py::object& factor,
                                       std::vector<double> breaks) {
  Prepared made(request, {curvature, memory_budget, rank}, w0, &problem);
  Schedule schedule;
  if (!factor.is_none())
    schedule = {[function = made.holds.emplace_back(factor)](double t) {
                  const Locked locked;
                  return number_from(function({py::float_(t)}), "weight_decay", t);
                },
                std::move(breaks)};
  auto run = make_run<GradientRun>(made.problem, w0, make_decay(decay), made.options, schedule);
  return std::make_unique<HeldRun>(std::move(run), std::move(made.holds));
}

}  // namespace

void bind_run(py::module_& m) {
  py::class_<RunRequest>(m, "RunOptions")
      .def(py::init([](double t0, double t1, double rtol, Vector atol, std::string method, int max_order,
                       double first_step, double max_step, std::int64_t max_steps, double max_time,
                       bool whole_steps, const py::object& times, bool keep_states,
                       std::vector<std::tuple<std::string, py::object>> observables,
                       std::vector<std::tuple<py::object, int, int>> events, py::object callback) {
             RunOptions options{t0, t1, std::move(method), max_order, Tolerance(rtol, std::move(atol))};
             options.limits = {first_step, max_step, max_steps, max_time, whole_steps};
             options.sample_times = sample_times(times);
             options.keep_states = keep_states;
             return RunRequest{std::move(options), std::move(observables), std::move(events),
                               std::move(callback)};
           }),
           py::kw_only(), py::arg("t0"), py::arg("t1"), py::arg("rtol"), py::arg("atol"), py::arg("method"),
           py::arg("max_order"), py::arg("first_step"), py::arg("max_step"), py::arg("max_steps"),
           py::arg("max_time"), py::arg("whole_steps"), py::arg("sample_times"), py::arg("keep_states"),
           py::arg("observables"), py::arg("events"), py::arg("callback"));

  py::class_<HeldRun>(m, "FlowRun", py::custom_type_setup(collect_garbage))
      .def("advance", &HeldRun::advance, py::arg("to_end"))
      .def("save", &HeldRun::save, py::arg("write"))
      .def("load", &HeldRun::load, py::arg("readinto"))
      .def("reopen", [](HeldRun& held) { return held.run().reopen(); })
      .def_property_readonly("method", [](const HeldRun& held) { return held.run().method(); })
      .def_property_readonly("status", [](const HeldRun& held) { return to_string(held.run().status()); })
      .def_property_readonly("message", [](const HeldRun& held) { return held.run().message(); })
      .def_property_readonly("t", [](const HeldRun& held) { return held.run().t(); })
      .def_property_readonly("w", [](const HeldRun& held) { return copy_of(held.run().w()); })
      .def_property_readonly("previous_t",
                             [](const HeldRun& held) { return held.run().integrator().previous_t(); })
      .def_property_readonly("order", [](const HeldRun& held) { return held.run().integrator().order(); })
      .def_property_readonly("slack", [](const HeldRun& held) { return held.run().integrator().slack(); })
      .def("interpolate",
           [](const HeldRun& held, double t) {
             Vector w(held.run().w().size());
             held.run().integrator().interpolate(t, w);
             return w;
           })
      .def("times", [](const HeldRun& held) { return vector_of(held.run().recorder().times()); })
      .def(
          "states",
          [](const HeldRun& held) { return table_of(held.run().recorder().states(), held.run().w().size()); })
      .def("observed", &observed_of)
      .def("events", &events_of)
      .def("mode_changes", &mode_changes_of)
      .def("stats", [](const HeldRun& held) { return dict_of(held.run().stats()); });

  m.def("is_piecewise", [](const Problem& problem) { return piecewise(problem) != nullptr; });
  m.def("krylov_rank", [](const Problem& problem, Index rank, double memory_budget) {
    return krylov_rank(problem, {memory_budget, rank});
  });
  m.def("curvature_of", [](const Problem& problem, const std::string& curvature, double memory_budget) {
    return to_string(choose_curvature(problem, curvature_kind(curvature), memory_budget));
  });
  m.def("gradient_flow", &gradient_flow, py::arg("problem"), py::arg("w0"), py::arg("decay"),
        py::arg("curvature"), py::arg("memory_budget"), py::arg("rank"), py::arg("options"),
        py::arg("factor") = py::none(), py::arg("breaks") = std::vector<double>());
}
