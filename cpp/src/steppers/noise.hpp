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
    slack_ = std::max(1.0, kRecover * slack_);
  }

  void reject() { failures_ += 1.0; }

  /// Whether attempts have failed so often of late that noise may be the reason.
  bool suspects() {
    if (failures_ < kFailures) return false;
    failures_ = 0.0;
    return true;
  }

  /// f(w + e/16) less what follows from a straight line through f(w) and f(w + e), in `noise`; false if that
  /// is no more than the curvature of a smooth f. An e beyond the tolerance, which the weights are the inverse
  /// of, is shortened to it: over longer distances f may bend as it likes. Three evaluations.
  bool find(Flow& flow, const ConstVectorRef& w, VectorRef e, const ConstVectorRef& weights, VectorRef noise,
            VectorRef change) {
    constexpr double part = 1.0 / 16.0;
    if (!all_finite(e)) return false;
    e /= std::max(1.0, rms_norm(e, weights));
    f_.resize(w.size());
    point_ = w;
    flow.rhs(point_, f_);
    point_ = w + e;
    flow.rhs(point_, change);
    change = part * (change - f_);
    point_ = w + part * e;
    flow.rhs(point_, noise);
    noise -= f_ + change;
    const double size = noise.stableNorm();
    if (!std::isfinite(size) || size <= 0.5 * change.stableNorm()) return false;
    // Where nothing has moved, w + e/16 is the same as w in the arithmetic of f, and all of the change is noise.
    point_ = noise + change;
    if (point_.stableNorm() < 0.5 * size) noise /= part;
    return true;
  }

  void state(Archive& archive) { archive(slack_, most_, failures_); }

  /// `noise` in a step, in units of the tolerance in force.
  void measured(double noise) {
    if (noise > quiet_) slack_ = std::clamp(slack_ * noise / quiet_, 1.0, std::max(limit_, 1.0));
    most_ = std::max(most_, slack_);
  }

 private:
  static constexpr double kFailures = 3.0;
  static constexpr double kForget = 0.97, kRecover = 0.998;  // with every step taken
  static constexpr double kLoosest = 0.1;                    // relative tolerance

  double quiet_, limit_;
  double slack_ = 1.0, most_ = 1.0;
  double failures_ = 0.0;  // of late
  Vector f_, point_;       // what `find` needs
};

}  // namespace grokflow
