// Weight decay that changes over time: D(t) = factor(t) D, smooth but for the breaks.
//
//   grokflow::Schedule off{[](double t) { return t < 1e4 ? 1.0 : 0.0; }, {1e4}};
//   grokflow::GradientRun run(problem, w0, grokflow::Decay(d, 1e-3), options, off);
//
// A step never goes over a break: the method ends there and begins anew, as it would at the start of a run. Between
// two breaks `factor` is asked for inside the span only, so that it does not matter which side a break counts to.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "grokflow/stepper.hpp"

namespace grokflow {

struct Schedule {
  std::function<double(double t)> factor = {};  ///< finite and not negative; none: 1
  std::vector<double> breaks = {};              ///< times at which it jumps or bends, sorted

  explicit operator bool() const { return static_cast<bool>(factor); }
};

class GradientFlow;

/// Steps of the methods that `make` makes, one from each break of the schedule of `flow` to the next.
std::unique_ptr<Stepper> make_scheduled(GradientFlow& flow, std::function<std::unique_ptr<Stepper>()> make);

}  // namespace grokflow
