// What a stepper does about a right-hand side that is less smooth than the tolerance asks for: round-off of
// double precision where the tolerance is tight and the steps are long, of single precision in a callback,
// sampling, a gradient that jumps.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "grokflow/stepper.hpp"

namespace grokflow {

/// By how much the tolerance is loosened. Where many attempts fail, f is looked at for noise; if there is
/// any, the tolerance of each weight gives way until its noise in a step is a small part of it, and comes back
/// without it. Weight by weight: small ones drown in the round-off of large ones, which keep their digits, and
/// whose tolerance is the most that they get.
class NoiseGate {
 public:
  /// Noise may take the part `quiet` of the tolerance.
  NoiseGate(double quiet, double rtol) : quiet_(quiet), limit_(std::max(1.0, kLoosest / rtol)) {}

  /// By how much the tolerance of any weight had to be exceeded, as far as has been seen.
  double most() const { return most_; }

  /// weights <- the inverse of the tolerance in force, for the stretch that begins there.
  void loosen(VectorRef weights, Index begin = 0) const {
    if (noise_.size() == 0) return;
    const auto slack = noise_.segment(begin, weights.size()).array() * weights.array();
    weights.array() /= 1.0 + slack.min((largest_ * weights.array()).max(limit_));
  }

  void accept() {
    failures_ *= kForget;
    ++accepted_;
    noise_ *= kRecover;
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
    const double size = beyond_line(flow, w, e, weights, noise, change);
    // f does not see e: what it makes of other last digits of w.
    if (noise.isZero(0.0) && change.isZero(0.0)) {
      point_ = kDigits * w;
      flow.rhs(point_, noise);
      noise -= f_;
      return all_finite(noise);
    }
    if (!std::isfinite(size) || size <= 0.5 * rms_norm(change, weights)) return false;
    // Where nothing has moved, w + e/16 is the same as w in the arithmetic of f, and all of the change is noise.
    point_ = noise + change;
    if (rms_norm(point_, weights) < 0.5 * size) noise /= kPart;
    // Curvature falls to a quarter on half the way, or to an eighth where it is odd. Noise does not; a jump
    // is there or is not.
    half_ = 0.5 * e;
    deviation_.resize(w.size());
    const double fallen = beyond_line(flow, w, half_, weights, deviation_, change) / size;
    return !(fallen > 1.0 / 12.0 && fallen < 0.5);
  }

  void state(Archive& archive) { archive(most_, failures_, accepted_, noise_, largest_); }

  /// `noise` in a step, which is lost then, of which the part `share` counts; with the weights in force.
  void measured(VectorRef noise, double share, const ConstVectorRef& weights) {
    noise *= share / quiet_;
    if (rms_norm(noise, weights) <= 1.0) return;
    if (noise_.size() == 0) noise_.setZero(noise.size());
    const auto asked = [&](Index i) { return std::max(1.0 - noise_[i] * weights[i], kEpsilon) / weights[i]; };
    largest_ = 0.0;
    for (Index i = 0; i < noise.size(); ++i) largest_ = std::max(largest_, asked(i));
    for (Index i = 0; i < noise.size(); ++i) {
      const double before = asked(i), most = std::max(limit_ * before, largest_);
      noise_[i] = std::max(noise_[i], std::min(std::abs(noise[i]), most));
      most_ = std::max(most_, std::min(noise_[i] / before, limit_));
    }
  }

 private:
  static constexpr double kFailures = 3.0;
  static constexpr Index kPeriod = 50;
  static constexpr double kForget = 0.97, kRecover = 0.998;  // with every step taken
  static constexpr double kLoosest = 0.1;                    // relative tolerance that is told
  static constexpr double kEpsilon = std::numeric_limits<double>::epsilon(), kDigits = 1.0 + 4.0 * kEpsilon;

  static constexpr double kPart = 1.0 / 16.0;

  /// The norm of noise = f(w + e/16) - f(w) - change, where change is a sixteenth of f(w + e) - f(w).
  double beyond_line(Flow& flow, const ConstVectorRef& w, const ConstVectorRef& e,
                     const ConstVectorRef& weights, VectorRef noise, VectorRef change) {
    point_ = w + e;
    flow.rhs(point_, change);
    change = kPart * (change - f_);
    point_ = w + kPart * e;
    flow.rhs(point_, noise);
    noise -= f_ + change;
    return rms_norm(noise, weights);
  }

  double quiet_, limit_;
  double most_ = 1.0;
  double largest_ = 0.0;                 // tolerance of any weight, when noise was found
  double failures_ = 0.0;                // of late
  Index accepted_ = 0;                   // since noise was looked for
  Vector noise_;                         // the tolerance that it asks of each weight, or empty
  Vector f_, point_, half_, deviation_;  // what `find` needs
};

}  // namespace grokflow
