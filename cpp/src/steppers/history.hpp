// Past states at unequal distances, and the polynomials through them.
#pragma once

#include <array>

#include "grokflow/archive.hpp"

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
  /// A new state, a step h after the newest.
  void push(const ConstVectorRef& w, double h);

  void state(Archive& archive) {
    archive(states_, age_);
    archive.bounded(head_, 0, kCapacity - 1);
    archive.bounded(count_, 0, kCapacity);
  }

  /// True states, the fictitious one not counted.
  int count() const { return count_; }
  const ConstVectorRef newest() const { return states_.col(slot(0)); }
  /// Distance from a point `ahead` of the newest state back to state i.
  double distance(int i, double ahead) const { return ahead + age_[static_cast<std::size_t>(i)]; }

  /// Weights of the value and of the derivative, at `ahead` of the newest state, of the polynomial through
  /// the first `points`.
  void lagrange(int points, double ahead, Weights& value, Weights& slope) const;
  /// Weights of the divided difference over the first `points`.
  Weights divided_difference(int points) const;

  /// out = weights_0 state_0 + sum_i weights_i (state_i - state_0)
  void combine(int points, const Weights& weights, VectorRef out) const;
  /// rms_norm of that sum, which is not formed
  double combined_norm(int points, const Weights& weights, const ConstVectorRef& scale) const;

 private:
  Index slot(int i) const { return (head_ + i) % kCapacity; }

  template <class Visit>
  void for_each_tile(int points, const Weights& weights, Visit&& visit) const;

  Matrix states_;
  std::array<double, kCapacity> age_{};  // distance of state i from the newest
  int head_ = 0;
  int count_ = 0;
};

}  // namespace grokflow
