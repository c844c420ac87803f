// Past states at unequal distances, and the polynomials through them.
#pragma once

#include <array>
#include <cmath>

#include "grokflow/archive.hpp"
#include "steppers/stretches.hpp"

namespace grokflow {

/// The latest states of a multistep method, the newest first. Nothing is rescaled when the step changes:
/// polynomials are evaluated by Lagrange weights on the states themselves, and each evaluation is one pass
/// over memory in tiles that stay in cache.
class History {
 public:
  static constexpr int kCapacity = 7;  // order 5, its predictor, and one more to judge a higher order
  /// Of the newest state, the first one, and of how much each other one differs from it: what is constant in time
  /// comes out without round-off.
  using Weights = std::array<double, kCapacity>;

  explicit History(Index size);

  /// One state, and a fictitious one at distance h on the line of slope f: enough for a linear predictor.
  void reset(const ConstVectorRef& w, const ConstVectorRef& f, double h);
  /// A new state, a step h after the newest: w takes the memory of the oldest one in exchange.
  void push(Vector& w, double h);

  void state(Archive& archive) {
    for (Vector& state : states_) archive(state);
    archive(age_);
    archive.bounded(head_, 0, kCapacity - 1);
    archive.bounded(count_, 0, kCapacity);
  }

  /// True states, the fictitious one not counted.
  int count() const { return count_; }
  const Vector& newest() const { return past(0); }
  /// Distance from a point `ahead` of the newest state back to state i.
  double distance(int i, double ahead) const { return ahead + age_[static_cast<std::size_t>(i)]; }

  /// Value and slope, at `ahead` of the newest state, of the polynomial through the first `points`. Returns the sum
  /// of visit(begin, count) over stretches of entries, each called as soon as these are there.
  template <class Visit>
  double extrapolate(int points, double ahead, Vector& value, Vector& slope, Visit&& visit);
  /// out = the value alone
  void interpolate(int points, double ahead, VectorRef out) const;
  /// A power of two, about as long as the last step: powers of times in it neither overflow nor vanish.
  double unit() const { return std::exp2(std::ilogb(age_[1])); }
  /// rms_norm of the divided difference over the first `points`, of which times are in units
  double divided_difference(int points, const ConstVectorRef& scale) const;

 private:
  const Vector& past(int i) const { return states_[static_cast<std::size_t>((head_ + i) % kCapacity)]; }
  Vector& past(int i) { return states_[static_cast<std::size_t>((head_ + i) % kCapacity)]; }

  /// Weights of the value and of the slope, and those of the divided difference.
  void lagrange(int points, double ahead, Weights& value, Weights& slope) const;
  Weights newton(int points) const;

  std::array<Vector, kCapacity> states_;
  std::array<double, kCapacity> age_{};  // distance of state i from the newest
  int head_ = 0;
  int count_ = 0;
  mutable Stretches pass_;
};

template <class Visit>
double History::extrapolate(int points, double ahead, Vector& value, Vector& slope, Visit&& visit) {
  Weights of_value, of_slope;
  lagrange(points, ahead, of_value, of_slope);
  return pass_.sum(4.0 * points, [&](Index begin, Index count) {
    const auto newest = past(0).segment(begin, count);
    auto w = value.segment(begin, count), f = slope.segment(begin, count);
    w = newest;
    f.setZero();
    for (int i = 1; i < points; ++i) {
      const auto change = past(i).segment(begin, count) - newest;
      w += of_value[static_cast<std::size_t>(i)] * change;
      f += of_slope[static_cast<std::size_t>(i)] * change;
    }
    return visit(begin, count);
  });
}

}  // namespace grokflow
