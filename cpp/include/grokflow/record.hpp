// What is kept of a run: samples of the state and of observables at chosen times.
//
//   grokflow::Recorder recorder(d, {loss, norm}, /*keep_states=*/true, grokflow::SampleTimes::log());
//   grokflow::Run run(integrator, recorder);                          // see run.hpp
//   while (run.step() == grokflow::Status::running) {}
//   recorder.times(), recorder.states(), recorder.values(0)
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "grokflow/integrate.hpp"

namespace grokflow {

/// A function of time and state to be recorded; size 0 stands for a scalar.
struct Observable {
  std::string name;
  Index size;
  std::function<void(double t, const ConstVectorRef& w, VectorRef out)> evaluate;
};

/// When to record: at given times, at every step, or on the grid t0 + 10^(k/14) from the first step on, with
/// both ends.
class SampleTimes {
 public:
  /// Throws std::invalid_argument unless the times are sorted.
  static SampleTimes given(std::vector<double> times);
  static SampleTimes steps() { return {Mode::steps, {}}; }
  static SampleTimes log() { return {Mode::log, {}}; }

 private:
  friend class Recorder;
  enum class Mode { given, steps, log };
  SampleTimes(Mode kind, std::vector<double> sorted) : mode(kind), times(std::move(sorted)) {}
  Mode mode;
  std::vector<double> times;
};

class Recorder {
 public:
  Recorder(Index size, std::vector<Observable> observables, bool keep_states, SampleTimes when);

  /// Throws std::invalid_argument unless states have this size and times lie in the span.
  void require_fit(Index size, double t0, double t1) const;

  /// The initial state.
  void begin(const Integrator& integrator);
  /// The last step, up to `until`.
  void step(const Integrator& integrator, double until);
  /// The end of the run.
  void end(double t, const ConstVectorRef& w);

  const std::vector<double>& times() const { return times_; }
  /// One state after the other, if states are kept.
  const std::vector<double>& states() const { return states_; }
  const std::vector<Observable>& observables() const { return observables_; }
  /// The values of observable i, one time after the other.
  const std::vector<double>& values(std::size_t i) const { return values_[i]; }

  void state(Archive& archive);
  /// Drops the record of `end`, if there is one: the run goes on. Whether there was one.
  bool reopen();

 private:
  void record(double t, const ConstVectorRef& w);
  void make_log_grid(const Integrator& integrator);

  std::vector<Observable> observables_;
  bool keep_states_;
  SampleTimes when_;
  std::size_t next_ = 0;  // in when_.times
  bool grid_made_ = false;
  bool closed_ = false;  // the last record is that of `end`
  std::vector<double> times_, states_;
  std::vector<std::vector<double>> values_;
  Vector state_, row_;  // row_: the values of all observables at one time
};

}  // namespace grokflow
