// The plain C interface (grokflow.h), on the runs of C++: converts, and turns exceptions into codes.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <stdexcept>
#include <string>

#include "grokflow/functions.hpp"
#include "grokflow/grokflow.h"
#include "grokflow/runs.hpp"
#include "grokflow/status.hpp"
#include "grokflow/version.h"

using namespace grokflow;

struct grokflow_problem {
  std::shared_ptr<const Problem> problem;
};

struct grokflow_run {
  std::unique_ptr<FlowRun> flow;
  LandingRun* landing = nullptr;  // the same, if it is one
  Landing landed = {};
  std::string message;
  std::atomic<bool> stop{false}, busy{false};
};

namespace {

thread_local std::string last_error;

int failed(int code, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {
    last_error.clear();  // no memory, not even for this
  }
  return code;
}

/// The code of whatever `work` throws.
template <class Work>
int guarded(Work&& work) noexcept {
  try {
    work();
    return GROKFLOW_OK;
  } catch (const std::invalid_argument& error) {
    return failed(GROKFLOW_BAD_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(GROKFLOW_NO_MEMORY, "not enough memory");
  } catch (const std::exception& error) {
    return failed(GROKFLOW_FAILED, error.what());
  } catch (...) {
    return failed(GROKFLOW_FAILED, "an unknown exception");
  }
}

template <class T>
T& existing(const char* name, T* pointer) {
  if (!pointer) throw std::invalid_argument(std::string(name) + " is a null pointer");
  return *pointer;
}

/// The run, kept from other threads while this object lives.
class Held {
 public:
  explicit Held(const grokflow_run* run) : run_(const_cast<grokflow_run&>(existing("run", run))) {
    if (run_.busy.exchange(true)) throw std::invalid_argument("the run is in use by another thread");
  }
  Held(const Held&) = delete;
  ~Held() { run_.busy = false; }
  grokflow_run* operator->() const { return &run_; }

 private:
  grokflow_run& run_;
};

Eigen::Map<const Vector> vector(const char* name, const double* data, Index size) {
  return {&existing(name, data), size};
}

RunOptions options_of(const grokflow_options& from, std::atomic<bool>& stop) {
  RunOptions options{from.t0, from.t1};
  if (from.method) options.method = from.method;
  if (!(from.atol >= 0.0)) throw std::invalid_argument("atol must not be negative");
  options.tolerance = {from.rtol, from.atol > 0.0 ? Vector::Constant(1, from.atol) : Vector()};
  options.limits.max_steps = from.max_steps;
  options.limits.max_time = from.max_time;
  if (from.times) {
    if (from.num_times < 0) throw std::invalid_argument("num_times is negative");
    options.sample_times = SampleTimes::given({from.times, from.times + from.num_times});
  }
  options.keep_states = from.keep_states != 0;
  options.callback = [&stop](double, const ConstVectorRef&) { return stop.exchange(false); };
  return options;
}

/// Makes a run by `make(problem, w0, options)`, recording every scalar quantity.
template <class Make>
int make_run(const grokflow_problem* problem, const double* w0, const grokflow_options* given,
             grokflow_run** out, Make&& make) {
  return guarded([&] {
    existing("out", out);
    const auto& on = existing("problem", problem).problem;
    const auto start = vector("w0", w0, on->num_params());
    auto run = std::make_unique<grokflow_run>();
    RunOptions options = options_of(existing("options", given), run->stop);
    for (const Quantity& quantity : on->quantities())
      if (quantity.size == 0) options.observables.push_back(observe(on, quantity.name));
    make(*run, on, start, options);
    *out = run.release();
  });
}

/// The functions that are given; nan where one has no value.
Function function(grokflow_function f, void* data) {
  if (!f) return {};
  return [=](const ConstVectorRef& w, VectorRef out) {
    if (f(w.data(), out.data(), data) != 0) out.setConstant(NAN);
  };
}

Product product(grokflow_product f, void* data) {
  if (!f) return {};
  return [=](const ConstVectorRef& w, const ConstVectorRef& v, VectorRef out) {
    if (f(w.data(), v.data(), out.data(), data) != 0) out.setConstant(NAN);
  };
}

}  // namespace

extern "C" {

const char* grokflow_last_error(void) { return last_error.c_str(); }

const char* grokflow_library_version(void) { return GROKFLOW_VERSION; }

int grokflow_least_squares(int64_t d, int64_t n, double scale, grokflow_residual residual, grokflow_jvp jvp,
                           grokflow_vjp vjp, grokflow_hvp hvp, void* data, grokflow_problem** out) {
  return guarded([&] {
    existing("out", out);
    LeastSquares::Functions functions{function(residual, data), product(jvp, data), product(vjp, data),
                                      product(hvp, data)};
    *out = new grokflow_problem{std::make_shared<LeastSquares>(d, n, std::move(functions), scale)};
  });
}

int grokflow_objective(int64_t d, grokflow_loss loss, grokflow_gradient gradient, grokflow_hvp hvp,
                       void* data, grokflow_problem** out) {
  return guarded([&] {
    existing("out", out);
    Objective::Functions functions{{}, function(gradient, data), product(hvp, data)};
    if (loss)
      functions.loss = [=](const ConstVectorRef& w) {
        double value = NAN;  // unless it is set
        return loss(w.data(), &value, data) == 0 ? value : NAN;
      };
    *out = new grokflow_problem{std::make_shared<Objective>(d, std::move(functions))};
  });
}

void grokflow_free_problem(grokflow_problem* problem) { delete problem; }

grokflow_options grokflow_default_options(void) {
  return {0.0, 0.0, 1e-6, 0.0, nullptr, 1'000'000, INFINITY, nullptr, 0, 0};
}

int grokflow_gradient_flow(const grokflow_problem* problem, const double* w0, double weight_decay,
                           const grokflow_options* options, grokflow_run** out) {
  return make_run(problem, w0, options, out, [&](auto& run, const auto& on, const auto& start, auto& with) {
    run.flow = std::make_unique<GradientRun>(on, start, Decay(start.size(), weight_decay), with);
  });
}

int grokflow_limit_map(const grokflow_problem* problem, const double* w0, const grokflow_options* options,
                       grokflow_run** out) {
  const grokflow_options defaults = grokflow_default_options();
  return make_run(problem, w0, options ? options : &defaults, out,
                  [&](auto& run, const auto& on, const auto& start, auto& with) {
                    if (with.t1 == with.t0) with.t1 = kForever;
                    auto landing = std::make_unique<LandingRun>(on, start, with);
                    run.landing = landing.get();
                    run.flow = std::move(landing);
                  });
}

int grokflow_norm_flow(const grokflow_problem* problem, const double* w0, const grokflow_options* options,
                       grokflow_run** out) {
  return make_run(problem, w0, options, out, [&](auto& run, const auto& on, const auto& start, auto& with) {
    auto norm = std::make_shared<WeightedNorm>(Decay(start.size(), 1.0));
    run.flow = std::make_unique<DriftRun>(on, std::move(norm), start, with);
  });
}

void grokflow_free_run(grokflow_run* run) { delete run; }

int grokflow_advance(grokflow_run* run) {
  return guarded([&] {
    const Held held(run);
    held->flow->reopen();
    if (held->flow->status() == Status::running) held->flow->advance();
    if (held->landing) held->landed = held->landing->settle();
  });
}

int grokflow_stop(grokflow_run* run) {
  return guarded([&] { existing("run", run).stop = true; });
}

const char* grokflow_status(const grokflow_run* run) {
  const char* status = nullptr;
  guarded([&] {
    const Held held(run);
    status =
        to_string(held->landing && held->landed.w.size() > 0 ? held->landed.status : held->flow->status());
  });
  return status;
}

const char* grokflow_message(const grokflow_run* run) {
  const char* message = nullptr;
  guarded([&] {
    const Held held(run);
    const std::string& landing = held->landed.message;
    message = (landing.empty() ? held->flow->message() : landing).c_str();
  });
  return message;
}

int grokflow_end(const grokflow_run* run, double* t, double* w) {
  return guarded([&] {
    const Held held(run);
    const Vector& end = held->landed.w.size() > 0 ? held->landed.w : held->flow->w();
    existing("t", t) = held->flow->t();
    std::copy_n(end.data(), end.size(), &existing("w", w));
  });
}

int grokflow_num_records(const grokflow_run* run, int64_t* out) {
  return guarded([&] {
    const Held held(run);
    existing("out", out) = static_cast<int64_t>(held->flow->recorder().times().size());
  });
}

int grokflow_times(const grokflow_run* run, double* out) {
  return guarded([&] {
    const Held held(run);
    const auto& times = held->flow->recorder().times();
    std::copy(times.begin(), times.end(), &existing("out", out));
  });
}

int grokflow_values(const grokflow_run* run, const char* name, double* out) {
  return guarded([&] {
    const Held held(run);
    const Recorder& recorder = held->flow->recorder();
    const auto& observables = recorder.observables();
    const std::string wanted = &existing("name", name);
    const auto found = std::find_if(observables.begin(), observables.end(),
                                    [&](const Observable& observable) { return observable.name == wanted; });
    if (found == observables.end()) throw std::invalid_argument("unknown observable '" + wanted + "'");
    const auto& values = recorder.values(static_cast<std::size_t>(found - observables.begin()));
    std::copy(values.begin(), values.end(), &existing("out", out));
  });
}

int grokflow_states(const grokflow_run* run, double* out) {
  return guarded([&] {
    const Held held(run);
    const auto& states = held->flow->recorder().states();
    if (states.empty() && !held->flow->recorder().times().empty())
      throw std::invalid_argument("no states were kept: set keep_states");
    std::copy(states.begin(), states.end(), &existing("out", out));
  });
}

}  // extern "C"
