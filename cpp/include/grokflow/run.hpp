// An integration with all that watches it: a recorder, events, a callback.
//
//   grokflow::Run run(integrator, recorder, {event});
//   while (run.step() == grokflow::Status::running) {}
//   run.t(), run.w(), run.events()[0].times
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "grokflow/integrate.hpp"
#include "grokflow/record.hpp"

namespace grokflow {

/// A function whose zeros are located, as in SciPy; several in one step are found where the function is
/// smooth on a hundredth of it.
struct Event {
  std::function<double(double t, const ConstVectorRef& w)> value;
  int direction = 0;  ///< +1: rising zeros only, -1: falling ones, 0: all
  int terminal = 0;   ///< stop at this occurrence; 0: never
  std::vector<double> times;
  std::vector<double> states;  ///< one state after the other
  double size = 0.0;           ///< the largest |value| at the ends of steps

  void state(Archive& archive) { archive(times, states, size); }
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

  /// Writes or reads the state between two steps, that of the integrator and of the recorder included.
  void state(Archive& archive);
  /// Lets a run go on that a limit or the user has ended. Whether that drops a record, that of its end.
  bool reopen();

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
  bool first_ = true;  // no step has been recorded
  double t_;
  Vector w_, probe_;
  std::vector<double> event_values_, new_event_values_;  // at the start and at the end of the last step
  std::vector<Zero> zeros_;                              // in the last step, up to a terminal one
};

}  // namespace grokflow
