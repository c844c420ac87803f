#include "grokflow/record.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "root.hpp"

namespace grokflow {

constexpr double kPointsPerDecade = 14.0;

Recorder::Recorder(Index size, std::vector<Observable> observables, bool keep_states, SampleTimes when)
    : observables_(std::move(observables)),
      keep_states_(keep_states),
      when_(std::move(when)),
      values_(observables_.size()),
      state_(size) {}

void Recorder::begin(const Integrator& integrator) {
  const double t0 = integrator.t();
  if (when_.mode != SampleTimes::Mode::given) {
    record(t0, integrator.w());
    return;
  }
  while (next_ < when_.times.size() && when_.times[next_] <= t0) record(when_.times[next_++], integrator.w());
}

void Recorder::step(const Integrator& integrator, double until) {
  if (when_.mode == SampleTimes::Mode::steps) {
    if (until == integrator.t()) record(until, integrator.w());
    return;
  }
  if (when_.mode == SampleTimes::Mode::log && !grid_made_) make_log_grid(integrator);
  while (next_ < when_.times.size() && when_.times[next_] <= until) {
    const double t = when_.times[next_++];
    integrator.interpolate(t, state_);
    record(t, state_);
  }
}

void Recorder::end(double t, const ConstVectorRef& w) {
  const bool wanted = when_.mode != SampleTimes::Mode::given;
  if (wanted && (times_.empty() || times_.back() < t)) record(t, w);
}

void Recorder::make_log_grid(const Integrator& integrator) {
  grid_made_ = true;
  const double t0 = integrator.previous_t();
  const int first = static_cast<int>(std::ceil(kPointsPerDecade * std::log10(integrator.t() - t0)));
  for (int k = first;; ++k) {
    const double t = t0 + std::pow(10.0, k / kPointsPerDecade);
    if (!(t < integrator.end())) break;
    when_.times.push_back(t);
  }
}

void Recorder::record(double t, const ConstVectorRef& w) {
  times_.push_back(t);
  if (keep_states_) states_.insert(states_.end(), w.data(), w.data() + w.size());
  for (std::size_t i = 0; i < observables_.size(); ++i) {
    value_.resize(std::max<Index>(observables_[i].size, 1));
    observables_[i].evaluate(t, w, value_);
    values_[i].insert(values_[i].end(), value_.data(), value_.data() + value_.size());
  }
}

Run::Run(Integrator& integrator, Recorder& recorder, std::vector<Event> events, Callback callback)
    : integrator_(integrator),
      recorder_(recorder),
      events_(std::move(events)),
      callback_(std::move(callback)),
      t_(integrator.t()),
      w_(integrator.w()),
      probe_(integrator.w()) {}

Status Run::step() {
  if (!begun_) begin();
  if (integrator_.status() == Status::running) {
    const double before = integrator_.t();
    integrator_.step();
    if (integrator_.t() > before) {
      bool terminal = false;
      const double until = events_.empty() ? integrator_.t() : locate_events(terminal);
      integrator_.interpolate(until, w_);
      t_ = until;
      if (terminal) integrator_.stop(Status::event, "A terminal event occurred.");
      recorder_.step(integrator_, until);
      if (callback_ && callback_(t_, w_) && integrator_.status() == Status::running)
        integrator_.stop(Status::interrupted, "The callback asked to stop.");
    }
  }
  if (integrator_.status() != Status::running) recorder_.end(t_, w_);
  return integrator_.status();
}

void Run::begin() {
  event_values_.clear();
  for (Event& event : events_) event_values_.push_back(event.value(t_, w_));
  recorder_.begin(integrator_);
  begun_ = true;
}

/// The time up to which the last step counts: its end, or that of a terminal event within.
double Run::locate_events(bool& terminal) {
  struct Zero {
    double t;
    Event* event;
  };
  std::vector<Zero> zeros;
  for (std::size_t i = 0; i < events_.size(); ++i) {
    Event& event = events_[i];
    const double before = event_values_[i], after = event.value(integrator_.t(), integrator_.w());
    event_values_[i] = after;
    // A zero at the start of a step was the end of the last one, or the start of the run, which is no
    // crossing.
    const bool rising = before < 0.0 && after >= 0.0, falling = before > 0.0 && after <= 0.0;
    if (!(event.direction > 0 ? rising : event.direction < 0 ? falling : rising || falling)) continue;
    const auto value = [&](double t) {
      integrator_.interpolate(t, probe_);
      return event.value(t, probe_);
    };
    zeros.push_back({find_root(value, integrator_.previous_t(), integrator_.t(), before, after), &event});
  }
  std::stable_sort(zeros.begin(), zeros.end(), [](const Zero& a, const Zero& b) { return a.t < b.t; });
  for (const Zero& zero : zeros) {
    Event& event = *zero.event;
    integrator_.interpolate(zero.t, probe_);
    event.times.push_back(zero.t);
    event.states.insert(event.states.end(), probe_.data(), probe_.data() + probe_.size());
    terminal = event.terminal > 0 && static_cast<int>(event.times.size()) >= event.terminal;
    if (terminal) return zero.t;
  }
  return integrator_.t();
}

}  // namespace grokflow
