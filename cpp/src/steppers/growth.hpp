// Where the errors of earlier steps grow.
#pragma once

#include <algorithm>
#include <cmath>

#include "grokflow/archive.hpp"

namespace grokflow {

/// Along the path f obeys the equation of small errors: where |f| grows, out of a saddle, so do they, and what
/// each step adds stays beside what the others have. Steps there have to be more accurate.
class Growth {
 public:
  /// A step was taken that has brought |f| to `steepness`.
  void step(double steepness) {
    if (last_ > 0.0 && steepness > 0.0) pace_ += kMemory * (std::log(steepness / last_) - pace_);
    last_ = steepness;
  }

  /// The e-folds of |f| in a step, of late; negative where it falls.
  double pace() const { return pace_; }

  void state(Archive& archive) { archive(last_, pace_); }

 private:
  static constexpr double kMemory = 0.2;  // with every step

  double last_ = 0.0, pace_ = 0.0;
};

}  // namespace grokflow
