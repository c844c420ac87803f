// What is kept of a run: samples of the state and of observables at chosen times, and located events.
//
//   grokflow::Recorder recorder(d, {loss, norm}, /*keep_states=*/true, grokflow::SampleTimes::log());
//   grokflow::Run run(integrator, recorder);
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

/// A function whose zeros are located, as in SciPy.
struct Event {
  std::function<double(double t, const ConstVectorRef& w)> value;
  int direction = 0;  ///< +1: rising zeros only, -1: falling ones, 0: all
  int terminal = 0;   ///< stop at this occurrence; 0: never
  std::vector<double> times;
  std::vector<double> states;  ///< one state after the other
};

/// When to record: at given times, at every step, or on the grid t0 + 10^(k/14) from the first step on, with
/// both ends.
class SampleTimes {
 public:
  static SampleTimes given(std::vector<double> times) { return {Mode::given, std::move(times)}; }
  static SampleTimes steps() { return {Mode::steps, {}}; }
  static SampleTimes log() { return {Mode::log, {}}; }

 private:
  friend class Recorder;
  enum class Mode { given, steps, log };
  SampleTimes(Mode mode, std::vector<double> times) : mode(mode), times(std::move(times)) {}
  Mode mode;
  std::vector<double> times;
};

class Recorder {
 public:
  Recorder(Index size, std::vector<Observable> observables, bool keep_states, SampleTimes when);

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

 private:
  void record(double t, const ConstVectorRef& w);
  void make_log_grid(const Integrator& integrator);

  std::vector<Observable> observables_;
  bool keep_states_;
  SampleTimes when_;
  std::size_t next_ = 0;  // in when_.times
  bool grid_made_ = false;
  std::vector<double> times_, states_;
  std::vector<std::vector<double>> values_;
  Vector state_, row_;  // row_: the values of all observables at one time
};

/// An integration that is recorded. Exceptions of the flow, of observables and of events pass through; what
/// was recorded until then stays, and the next `step` takes up where the exception fell.
class Run {
 public:
  /// `callback`, if any, is called after each step and stops the run by returning true.
  using Callback = std::function<bool(double t, const ConstVectorRef& w)>;

  /// `watch`, if any, is told of the start and of each step before anything else looks at it; it stops the
  /// run by returning another status than `running`, and says why in `message`.
  using Watch = std::function<Status(double t, const ConstVectorRef& w, std::string& message)>;

  Run(Integrator& integrator, Recorder& recorder, std::vector<Event> events = {}, Callback callback = {},
      Watch watch = {});

  /// One step of the integrator, its events, its record and the callback.
  Status step();

  /// That of the integrator, except that a run whose last step is not yet recorded goes on.
  Status status() const { return unrecorded_ ? Status::running : integrator_.status(); }
  /// The time and state of the run: those of the integrator, or of the terminal event.
  double t() const { return t_; }
  const Vector& w() const { return w_; }
  const std::vector<Event>& events() const { return events_; }

 private:
  struct Zero {
    double t;
    Event* event;
    bool stops;
  };

  void begin();
  void watch();
  void record_step();
  void locate_zeros();

  Integrator& integrator_;
  Recorder& recorder_;
  std::vector<Event> events_;
  Callback callback_;
  Watch watch_;
  Status watched_ = Status::running;
  std::string watch_message_;
  bool begun_ = false, unrecorded_ = false, unwatched_ = true;
  double t_;
  Vector w_, probe_;
  std::vector<double> event_values_, new_event_values_;  // at the start and at the end of the last step
  std::vector<Zero> zeros_;                              // in the last step, up to a terminal one
};

}  // namespace grokflow
