// Bookkeeping for a simplified Newton iteration x <- x + M^-1 (...) whose matrix M is kept over many steps.
#pragma once

#include <algorithm>
#include <cmath>

namespace grokflow {

/// Judges an iteration by the sizes of its corrections. The rate at which they shrink is measured in every
/// step, which takes two: a rate measured earlier says nothing of the modes that the aged Jacobian no longer
/// damps, as long as they hide in the norm; left to the predictor, which multiplies them, they feed on
/// themselves. Only a linear system solved exactly needs no second look.
class ContractionMonitor {
 public:
  enum class Verdict { more, converged, diverged };

  struct Options {
    int max_iterations;  ///< corrections in one step
    double renew;        ///< measured rate beyond which a new matrix pays
  };

  explicit ContractionMonitor(Options options) : options_(options) {}

  /// A new step: no correction has been made. `exact`: the first will be the solution.
  void begin(bool exact) {
    iteration_ = 0;
    measured_ = false;
    rate_ = exact ? 0.0 : 1.0;
  }

  /// `size` is the latest correction over the allowed error; the error that remains must fall below `target`.
  Verdict judge(double size, double target) {
    if (!std::isfinite(size)) return Verdict::diverged;
    if (++iteration_ > 1) {
      const double rate = last_ > 0.0 ? size / last_ : 0.0;
      rate_ = measured_ ? std::max(rate, kForget * rate_) : rate;
      measured_ = true;
      if (rate >= kDivergent) return Verdict::diverged;
    }
    last_ = size;
    const double rate = std::min(rate_, kDivergent);
    if (rate / (1.0 - rate) * size <= target) return Verdict::converged;
    return iteration_ < options_.max_iterations ? Verdict::more : Verdict::diverged;
  }

  /// The contraction rate believed in.
  double rate() const { return rate_; }
  int iterations() const { return iteration_; }
  /// Whether the matrix has served so badly in the latest step that a new one pays.
  bool wants_new_matrix() const { return measured_ && rate_ > options_.renew; }

 private:
  static constexpr double kDivergent = 0.9;
  static constexpr double kForget = 0.3;

  Options options_;
  double rate_ = 1.0;
  double last_ = 0.0;
  int iteration_ = 0;
  bool measured_ = false;
};

}  // namespace grokflow
