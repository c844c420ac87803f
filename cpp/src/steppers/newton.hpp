// Bookkeeping for a simplified Newton iteration x <- x + M^-1 (...) whose matrix M is kept over many steps.
#pragma once

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "grokflow/archive.hpp"

namespace grokflow {

/// Judges an iteration by the sizes of its corrections. The rate at which they shrink is measured in every
/// step with an aged Jacobian, which takes two: a rate measured earlier says nothing of the modes that it no
/// longer damps, as long as they hide in the norm; left to the predictor, which multiplies them, they feed on
/// themselves. With a fresh Jacobian the latest rate is believed, less so each time that it is not measured.
/// A linear system solved exactly needs no second look.
class ContractionMonitor {
 public:
  enum class Verdict { more, converged, diverged };

  struct Options {
    int max_iterations;  ///< corrections in one step
    double renew;        ///< measured rate beyond which a new matrix pays
  };

  explicit ContractionMonitor(Options options) : options_(options) {}

  /// What is known of the first correction of a step before it is made.
  enum class Trust {
    none,     ///< nothing
    least,    ///< nor does the rate of the first two say anything of modes that hide below them
    earlier,  ///< that it will do about as well as those of the latest steps
    exact     ///< that it will be the solution
  };

  /// A new step: no correction has been made.
  void begin(Trust trust) {
    iteration_ = 0;
    stalled_ = false;
    best_rate_ = 1.0;
    noise_ *= kFade;
    measured_ = false;
    doubtful_ = trust == Trust::least;
    if (trust == Trust::earlier)
      rate_ = kDoubt * rate_ > kMostRate ? 1.0 : std::max(kDoubt * rate_, kLeastRate);
    else
      rate_ = trust == Trust::exact ? 0.0 : 1.0;
  }

  /// `size` is the latest correction over the allowed error; the error that remains must fall below `target`.
  Verdict judge(double size, double target) {
    const double last = last_;
    last_ = size;
    if (!std::isfinite(size)) return Verdict::diverged;
    if (size <= noise_ && !doubtful_) return Verdict::converged;
    if (++iteration_ == 1) first_ = size;
    if (iteration_ > 1) {
      const double rate = last > 0.0 ? size / last : 0.0;
      rate_ = measured_ ? std::max(rate, kForget * rate_) : rate;
      measured_ = true;
      best_rate_ = std::min(best_rate_, rate);
      if (rate >= kDivergent) {
        stalled_ = true;
        return Verdict::diverged;
      }
    }
    if (doubtful_ && iteration_ == 2 && size > target) return Verdict::more;
    const double rate = std::min(rate_, kDivergent);
    if (rate / (1.0 - rate) * size <= target) return Verdict::converged;
    return iteration_ < options_.max_iterations ? Verdict::more : Verdict::diverged;
  }

  /// After an iteration that has failed: whether its corrections stopped to shrink where they are so small that
  /// this is round-off, and the step may be taken. That is so if they had shrunk fast before, or if there is no
  /// `better` matrix. Corrections of that size count as converged from then on.
  bool at_noise(bool better) {
    if (!stalled_ || !(last_ <= kMostNoise) || (better && best_rate_ > kFast)) return false;
    noise_ = std::min(kMostNoise, 2.0 * last_);
    return true;
  }

  /// Whether the corrections have become smaller on the whole.
  bool contracted() const { return last_ < first_; }

  /// The iteration is given up; `factored`: it had a matrix, although its first solve may tell otherwise.
  void fail(bool factored) {
    failure_ = !factored || iteration_ == 0      ? Failure::no_matrix
               : stalled_ && best_rate_ <= kFast ? Failure::round_off
                                                 : Failure::contraction;
    failed_at_ = last_;
    failed_rate_ = rate_;
  }

  /// What was seen in the last iteration that was given up, and what to try.
  std::string trouble() const {
    std::ostringstream text;
    switch (failure_) {
      case Failure::none:
        break;
      case Failure::no_matrix:
        text << "its linear systems could not be solved: the Hessian is not finite (check_problem tells), or "
                "has a negative eigenvalue (a saddle is near), which no step may outlast.";
        break;
      case Failure::round_off:
        text << "its corrections shrank fast and stopped at " << failed_at_
             << " of the error allowed in a step: that is round-off, or noise in the gradient; try a larger "
                "rtol.";
        break;
      case Failure::contraction:
        text << "its corrections went from one to the next by a factor of " << failed_rate_
             << ": the derivatives are wrong (check_problem tells), lack the part that the residual gives "
                "(hvp), or the gradient jumps.";
        break;
    }
    return text.str();
  }

  /// The contraction rate believed in.
  double rate() const { return rate_; }
  int iterations() const { return iteration_; }
  /// Whether the matrix has served so badly in the latest step that a new one pays.
  bool wants_new_matrix() const { return measured_ && rate_ > options_.renew; }

  void state(Archive& archive) {
    archive(rate_, last_, noise_, best_rate_, iteration_, measured_, stalled_, failure_, failed_at_,
            failed_rate_);
  }

 private:
  static constexpr double kDivergent = 0.9;
  static constexpr double kForget = 0.3;
  static constexpr double kDoubt = 2.0;       // a rate that was not measured is taken so much larger
  static constexpr double kLeastRate = 0.02;  // and for no smaller than this;
  static constexpr double kMostRate = 0.2;    // beyond this it is measured
  static constexpr double kMostNoise = 0.2;   // of the allowed error, that a step may be left with
  static constexpr double kFast = 0.1;        // contraction of which round-off is not suspected
  static constexpr double kFade = 0.98;       // by which noise is forgotten with every iteration

  enum class Failure { none, no_matrix, round_off, contraction };

  Options options_;
  double rate_ = 1.0;
  double first_ = 0.0, last_ = 0.0;  // correction
  double noise_ = 0.0;               // corrections so small are round-off
  double best_rate_ = 1.0;           // measured in this iteration
  int iteration_ = 0;
  bool measured_ = false, stalled_ = false, doubtful_ = false;
  Failure failure_ = Failure::none;
  double failed_at_ = 0.0, failed_rate_ = 0.0;  // correction and rate in it
};

}  // namespace grokflow
