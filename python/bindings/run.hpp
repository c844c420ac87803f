// A run of the core as Python holds it: driven with the GIL released, and seen by the garbage collector.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gil.hpp"
#include "grokflow/runs.hpp"

namespace grokflow {

/// What Python says of a run: options of the core, and what becomes such when the problem is known.
struct RunRequest {
  RunOptions options;
  std::vector<std::tuple<std::string, py::object>> observables;  ///< name; name of a quantity, or f(t, w)
  std::vector<std::tuple<py::object, int, int>> events;          ///< f(t, w), direction, terminal
  py::object callback;                                           ///< f(t, w), or None
};

/// How the linear systems of a run are solved: curvature, memory budget and rank.
using Strategy = std::tuple<std::string, double, Index>;

/// What a run of the core is made from, and what of that is Python's.
struct Prepared {
  /// `problem` and `regularizer` may be null.
  Prepared(const RunRequest& request, const Strategy& strategy, const Vector& w0, Problem* problem,
           const std::shared_ptr<const Regularizer>& regularizer = {});

  std::shared_ptr<Problem> problem;
  RunOptions options;
  std::vector<Held> holds;
};

template <class Run, class... Arguments>
std::unique_ptr<Run> make_run(Arguments&&... arguments) {
  const Unlocked unlocked;
  return std::make_unique<Run>(std::forward<Arguments>(arguments)...);
}

class HeldRun {
 public:
  HeldRun(std::unique_ptr<FlowRun> run, std::vector<Held> holds)
      : run_(std::move(run)), holds_(std::move(holds)) {}

  /// One step, or as many as there are.
  const char* advance(bool to_end);

  /// Hands the state to write(memoryview), or has it filled in by readinto(memoryview), piece by piece.
  void save(const py::function& write) const;
  void load(const py::function& readinto);

  /// Throws if another thread drives the run, without the GIL: what this one would see is being written.
  FlowRun& run() const;

  int traverse(visitproc visit, void* arg) const;
  void clear();

 private:
  std::unique_ptr<FlowRun> run_;
  std::vector<Held> holds_;
  std::atomic<bool> busy_{false};
  std::atomic<std::thread::id> driver_{};
};

CurvatureKind curvature_kind(const std::string& name);
using Rates = std::vector<std::tuple<Index, Index, double>>;  ///< begin, end, rate of consecutive ranges
Decay make_decay(const Rates& rates);
/// A function that throws on Ctrl-C and other signals. It looks every 50 ms, on Python's main thread, the
/// only one that takes them. It is made with the GIL, and called without.
std::function<void()> signal_check();
py::dict dict_of(const Stats& stats);

}  // namespace grokflow
