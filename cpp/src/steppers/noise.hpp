// What a stepper does about a right-hand side that is less smooth than the tolerance asks for: round-off of
// double precision where the tolerance is tight and the steps are long, of single precision in a callback,
// sampling, a gradient that jumps.
#pragma once

#include <algorithm>
#include <cmath>

#include "grokflow/stepper.hpp"

namespace grokflow {

/// By how much the tolerance is loosened. Where many attempts fail, f is looked at for noise; if there is
/// any, the tolerance gives way until the noise of a step is a small part of it, and comes back without it.
class NoiseGate {
 public:
  /// Noise may take the part `quiet` of the tolerance.
  NoiseGate(double quiet, double rtol) : quiet_(quiet), limit_(kLoosest / std::max(rtol, 1e-16)) {}

  double slack() const { return slack_; }
  /// The largest slack so far.
  double most() const { return most_; }

  void accept() {
    failures_ *= kForget;
    ++accepted_;
    slack_ = std::max(1.0, kRecover * slack_);
  }

  void reject() { failures_ += 1.0; }

  /// Whether attempts have failed so often of late that noise may be the reason. Where it has been so before,
  /// it is from time to time: noise below the tolerance makes no attempt fail, but keeps the steps short.
  bool suspects() {
    if (failures_ < kFailures && (most_ == 1.0 || accepted_ < kPeriod)) return false;
    failures_ = 0.0;
    accepted_ = 0;
    return true;
  }

  /// f(w + e/16) less what follows from a straight line through f(w) and f(w + e), in `noise`; false if that
  /// is no more than a small part, or the curvature of a smooth f. An e beyond the tolerance, which the weights
  /// are the inverse of, is shortened to it: over longer distances f may bend as it likes. Three evaluations,
  /// and two where the answer depends on more.
  bool find(Flow& flow, const ConstVectorRef& w, VectorRef e, const ConstVectorRef& weights, VectorRef noise,
            VectorRef change) {
    if (!all_finite(e)) return false;
    e /= std::max(1.0, rms_norm(e, weights));
    f_.resize(w.size());
    flow.rhs(w, f_);
    const double size = beyond_line(flow, w, e, noise, change);
    if (!std::isfinite(size) || size <= 0.5 * change.stableNorm()) return false;
    // Where nothing has moved, w + e/16 is the same as w in the arithmetic of f, and all of the change is noise.
    point_ = noise + change;
    if (point_.stableNorm() < 0.5 * size) noise /= kPart;
    // Curvature falls to a quarter on half the way, or to an eighth where it is odd. Noise does not; a jump
    // is there or is not.
    half_ = 0.5 * e;
    deviation_.resize(w.size());
    const double fallen = beyond_line(flow, w, half_, deviation_, change) / size;
    return !(fallen > 1.0 / 12.0 && fallen < 0.5);
  }

  void state(Archive& archive) { archive(slack_, most_, failures_, accepted_); }

  /// `noise` in a step, in units of the tolerance in force.
  void measured(double noise) {
    if (noise > quiet_) slack_ = std::clamp(slack_ * noise / quiet_, 1.0, std::max(limit_, 1.0));
    most_ = std::max(most_, slack_);
  }

 private:
  static constexpr double kFailures = 3.0;
  static constexpr Index kPeriod = 50;
  static constexpr double kForget = 0.97, kRecover = 0.998;  // with every step taken
  static constexpr double kLoosest = 0.1;                    // relative tolerance

  static constexpr double kPart = 1.0 / 16.0;

  /// The norm of noise = f(w + e/16) - f(w) - change, where change is a sixteenth of f(w + e) - f(w).
  double beyond_line(Flow& flow, const ConstVectorRef& w, const ConstVectorRef& e, VectorRef noise,
                     VectorRef change) {
    point_ = w + e;
    flow.rhs(point_, change);
    change = kPart * (change - f_);
    point_ = w + kPart * e;
    flow.rhs(point_, noise);
    noise -= f_ + change;
    return noise.stableNorm();
  }

  double quiet_, limit_;
  double slack_ = 1.0, most_ = 1.0;
  double failures_ = 0.0;                // of late
  Index accepted_ = 0;                   // since noise was looked for
  Vector f_, point_, half_, deviation_;  // what `find` needs
};

}  // namespace grokflow
