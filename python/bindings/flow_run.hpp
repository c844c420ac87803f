// A run of an integrator, from Python: built once, then driven step by step or to its end with the GIL
// released.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "grokflow/curvature.hpp"
#include "grokflow/modes.hpp"
#include "grokflow/record.hpp"

namespace grokflow {

namespace py = pybind11;

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

class FlowRun {
 public:
  /// `quantities` are what observables may name; `watch` may be empty; `modes` are those of a flow that is
  /// smooth piece by piece.
  FlowRun(std::shared_ptr<Flow> flow, const std::vector<Quantity>& quantities, const Vector& w0,
          const RunOptions& options, Run::Watch watch = {}, std::unique_ptr<Modes> modes = {});

  /// One step, or as many as there are.
  const char* advance(bool to_end);

  Flow& flow() { return check_access(), *flow_; }
  const Integrator& integrator() const { return check_access(), *integrator_; }
  const Recorder& recorder() const { return check_access(), *recorder_; }
  const Run& run() const { return check_access(), *run_; }
  /// Null for a smooth flow.
  const Modes* modes() const { return check_access(), modes_.get(); }
  /// Throws if another thread drives the run, without the GIL: what this one would see is being written.
  void check_access() const;

 private:
  std::shared_ptr<Flow> flow_;
  std::unique_ptr<Modes> modes_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Integrator> integrator_;
  std::unique_ptr<Run> run_;
  std::atomic<bool> busy_{false};
  std::atomic<std::thread::id> driver_{};
};

const char* status_word(Status status);
CurvatureKind curvature_kind(const std::string& name);
using Rates = std::vector<std::tuple<Index, Index, double>>;  ///< begin, end, rate of consecutive ranges
Decay make_decay(const Rates& rates);
/// A Python callable held by C++: its last reference may fall in any thread.
std::shared_ptr<py::object> hold(py::object callable);
/// A function that throws on Ctrl-C and other signals. It looks every 50 ms, on Python's main thread, the
/// only one that takes them. It is made with the GIL, and called without.
std::function<void()> signal_check();
py::dict dict_of(const Stats& stats);

}  // namespace grokflow
