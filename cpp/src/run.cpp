#include "grokflow/run.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "numerics/crossings.hpp"
#include "numerics/root.hpp"

namespace grokflow {

constexpr double kEventNoise = 1e-14;  // of the largest value that an event has had

Run::Run(Integrator& integrator, Recorder& recorder, std::vector<Event> events, Callback callback,
         Watch watch)
    : integrator_(integrator),
      recorder_(recorder),
      events_(std::move(events)),
      callback_(std::move(callback)),
      watch_(std::move(watch)),
      t_(integrator.t()),
      w_(integrator.w()),
      probe_(integrator.w()) {
  recorder_.require_fit(w_.size(), t_, integrator_.end());
}

Status Run::step() {
  if (!begun_) begin();
  if (integrator_.status() == Status::running && watched_ != Status::running) {
    integrator_.stop(watched_, watch_message_);  // before the first step
  } else if (status() == Status::running) {
    if (!unrecorded_) {
      const double before = integrator_.t();
      integrator_.step();
      unrecorded_ = unwatched_ = integrator_.t() > before;
    }
    if (unrecorded_)
      record_step();
    else
      w_ = integrator_.w();  // there was no step, or none that moved the clock
  }
  if (integrator_.status() != Status::running) recorder_.end(t_, w_);
  return integrator_.status();
}

void Run::state(Archive& archive) {
  integrator_.state(archive);
  recorder_.state(archive);
  std::size_t count = events_.size();
  archive(count);
  if (count != events_.size()) throw ArchiveError("the run had another number of events");
  for (Event& event : events_) archive(event);
  archive(watched_, watch_message_, begun_, first_, unrecorded_, unwatched_, t_, w_, event_values_);
}

bool Run::reopen() { return integrator_.reopen() && recorder_.reopen(); }

void Run::watch() {
  if (watch_ && unwatched_) watched_ = watch_(integrator_.t(), integrator_.w(), watch_message_);
  unwatched_ = false;
}

void Run::begin() {
  watch();
  event_values_.clear();
  for (Event& event : events_) event_values_.push_back(event.value(t_, w_));
  recorder_.begin(integrator_);
  begun_ = true;
}

/// Events, samples and the callback. What the user's functions may interrupt comes first and can be done
/// again.
void Run::record_step() {
  watch();
  locate_zeros();
  const bool stops = !zeros_.empty() && zeros_.back().stops;
  t_ = stops ? zeros_.back().t : integrator_.t();
  integrator_.interpolate(t_, w_);
  recorder_.step(integrator_, t_);

  unrecorded_ = first_ = false;
  event_values_.swap(new_event_values_);
  for (const Zero& zero : zeros_) {
    integrator_.interpolate(zero.t, probe_);
    zero.event->times.push_back(zero.t);
    zero.event->states.insert(zero.event->states.end(), probe_.data(), probe_.data() + probe_.size());
  }
  if (stops)
    integrator_.stop(Status::event, "A terminal event occurred.");
  else if (watched_ != Status::running)
    integrator_.stop(watched_, watch_message_);
  if (callback_ && callback_(t_, w_) && integrator_.status() == Status::running)
    integrator_.stop(Status::interrupted, "The callback asked to stop.");
}

void Run::locate_zeros() {
  zeros_.clear();
  new_event_values_.clear();
  const double t0 = integrator_.previous_t(), t1 = integrator_.t();
  for (std::size_t i = 0; i < events_.size(); ++i) {
    Event& event = events_[i];
    const double before = event_values_[i], after = event.value(t1, integrator_.w());
    new_event_values_.push_back(after);
    event.size = std::max({event.size, std::abs(before), std::abs(after)});
    const auto value = [&](double t) {
      integrator_.interpolate(t, probe_);
      return event.value(t, probe_);
    };
    int occurrence = static_cast<int>(event.times.size());
    const auto found = [&](double a, double b, double at_a, double at_b) {
      const bool rising = at_a < at_b;
      if (event.direction != 0 && (event.direction > 0) != rising) return;
      const double t = find_root(value, a, b, at_a, at_b);
      zeros_.push_back({t, &event, event.terminal > 0 && ++occurrence >= event.terminal});
    };
    // A zero at the start of a step was the end of the last one, if there was one.
    if (first_ && before == 0.0) found(t0, t1, before, after);
    CrossingSearch()(value, kEventNoise * event.size, t0, t1, before, after, found);
  }
  std::stable_sort(zeros_.begin(), zeros_.end(), [](const Zero& a, const Zero& b) { return a.t < b.t; });
  const auto stop = std::find_if(zeros_.begin(), zeros_.end(), [](const Zero& zero) { return zero.stops; });
  if (stop != zeros_.end()) zeros_.erase(stop + 1, zeros_.end());
}

}  // namespace grokflow
