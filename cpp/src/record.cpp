#include "grokflow/record.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

namespace grokflow {

namespace {

constexpr double kPointsPerDecade = 14.0;

Index entries(const Observable& observable) { return std::max<Index>(observable.size, 1); }

}  // namespace

SampleTimes SampleTimes::given(std::vector<double> times) {
  // Not a number is never in order.
  const auto down =
      std::adjacent_find(times.begin(), times.end(), [](double a, double b) { return !(a <= b); });
  if (down != times.end() || (times.size() == 1 && std::isnan(times[0])))
    throw std::invalid_argument("the sample times are not sorted");
  return {Mode::given, std::move(times)};
}

Recorder::Recorder(Index size, std::vector<Observable> observables, bool keep_states, SampleTimes when)
    : observables_(std::move(observables)),
      keep_states_(keep_states),
      when_(std::move(when)),
      values_(observables_.size()),
      state_(size) {
  Index size_of_row = 0;
  for (const Observable& observable : observables_) size_of_row += entries(observable);
  row_.resize(size_of_row);
}

void Recorder::require_fit(Index size, double t0, double t1) const {
  if (state_.size() != size)
    throw std::invalid_argument("the recorder is for states of " + std::to_string(state_.size()) +
                                " entries; those of the flow have " + std::to_string(size));
  const std::vector<double>& times = when_.times;
  if (!times.empty() && !(times.front() >= t0 && times.back() <= t1))
    throw std::invalid_argument("a sample time is outside of the time span");
}

void Recorder::begin(const Integrator& integrator) {
  const double t0 = integrator.t();
  if (when_.mode != SampleTimes::Mode::given) {
    record(t0, integrator.w());
    return;
  }
  for (; next_ < when_.times.size() && when_.times[next_] <= t0; ++next_)
    record(when_.times[next_], integrator.w());
}

void Recorder::step(const Integrator& integrator, double until) {
  if (when_.mode == SampleTimes::Mode::steps) {
    if (until == integrator.t()) record(until, integrator.w());
    return;
  }
  if (when_.mode == SampleTimes::Mode::log && !grid_made_) make_log_grid(integrator);
  for (; next_ < when_.times.size() && when_.times[next_] <= until; ++next_) {
    const double t = when_.times[next_];
    integrator.interpolate(t, state_);
    record(t, state_);
  }
}

void Recorder::end(double t, const ConstVectorRef& w) {
  const bool wanted = when_.mode != SampleTimes::Mode::given;
  if (!wanted || (!times_.empty() && times_.back() >= t)) return;
  record(t, w);
  closed_ = true;
}

void Recorder::state(Archive& archive) {
  archive(grid_made_, closed_, when_.times, times_, states_, values_);
  archive.bounded(next_, 0, static_cast<Index>(when_.times.size()));
  if (values_.size() != observables_.size())
    throw ArchiveError("another number of observables was recorded: name the same ones");
}

bool Recorder::reopen() {
  if (!closed_) return false;
  closed_ = false;
  times_.pop_back();
  if (keep_states_) states_.resize(states_.size() - static_cast<std::size_t>(state_.size()));
  for (std::size_t i = 0; i < values_.size(); ++i)
    values_[i].resize(values_[i].size() - static_cast<std::size_t>(std::max<Index>(observables_[i].size, 1)));
  return true;
}

void Recorder::make_log_grid(const Integrator& integrator) {
  grid_made_ = true;
  const double t0 = times_.front();
  double last = t0;
  const int first = static_cast<int>(std::ceil(kPointsPerDecade * std::log10(integrator.t() - t0)));
  for (int k = first;; ++k) {
    const double t = t0 + std::pow(10.0, k / kPointsPerDecade);
    if (!(t < integrator.end())) break;
    if (t > last) when_.times.push_back(t);  // around a large t0 some of them are the same number
    last = t;
  }
}

void Recorder::record(double t, const ConstVectorRef& w) {
  // All observables first: one that throws must not leave a time without its values.
  Index begin = 0;
  for (const Observable& observable : observables_) {
    const Index size = entries(observable);
    observable.evaluate(t, w, row_.segment(begin, size));
    begin += size;
  }
  try {
    if (keep_states_) states_.insert(states_.end(), w.data(), w.data() + w.size());
    const double* value = row_.data();
    for (std::size_t i = 0; i < observables_.size(); ++i) {
      const Index size = entries(observables_[i]);
      values_[i].insert(values_[i].end(), value, value + size);
      value += size;
    }
    times_.push_back(t);
  } catch (...) {  // no memory is left: nor must that
    if (keep_states_) states_.resize(times_.size() * w.size());
    for (std::size_t i = 0; i < observables_.size(); ++i)
      values_[i].resize(times_.size() * entries(observables_[i]));
    throw;
  }
}

}  // namespace grokflow
