// Where the path of a step leaves its mode: the first zero of a switching function.
#pragma once

#include <vector>

#include "grokflow/modes.hpp"
#include "piecewise/bernstein.hpp"

namespace grokflow {

constexpr double kRoundOff = 32.0 * std::numeric_limits<double>::epsilon();  // of a distance, against ||y||

enum class Trigger { distance, low, high, gain };

/// At the fraction x of the step this function of a unit's surface is -level.
struct Crossing {
  double x;
  Index unit, surface, slot;  // slot: among the multipliers
  Trigger trigger;
  double level;
};

/// The switching functions at one state; all but those of the gains, which may have either sign, are positive
/// inside the mode.
struct Look {
  Matrix distances;
  Vector gains, low, high;
};

class Crossings {
 public:
  Crossings(std::shared_ptr<Piece> piece, Modes::Forces forces, Tolerance tolerance);

  /// Looks at w, the start of the next step.
  const Look& begin(const ConstVectorRef& w);
  /// The end of the last step is the start of the next one.
  void advance() { std::swap(looks_.front(), looks_.back()); }
  /// All that ends the mode already at the start.
  void find_at_start();
  /// The fraction of the last attempt at which its mode ends, or a number beyond 1.
  double find(const OneStepMethod& method);
  /// The same for a step cut short there, which ends at the surface up to a small correction.
  double refine(const OneStepMethod& method);
  /// Whether w is in the mode, but for the slack of the tolerance.
  bool contains(const ConstVectorRef& w);

  /// What was found: one instant.
  const std::vector<Crossing>& first() const { return first_; }
  bool of(Index unit, Trigger trigger) const;
  bool of(Index unit, Trigger trigger, Index surface) const;
  void clear() { first_.clear(); }

  const Look& start() const { return looks_.front(); }
  const Vector& force() const { return force_; }  ///< at the last state looked at,
  const Vector& sizes() const { return sizes_; }  ///< and ||y|| of the units there
  Vector signs;  ///< of the gain of each unit, where it slides: kept until it is seen to change

 private:
  void look(const ConstVectorRef& w, Look& out);
  void look_along(const OneStepMethod& method);
  template <class Value>
  Bernstein interpolant(Value&& value) const;
  Bernstein polynomial(const Crossing& crossing) const;
  void examine(Crossing crossing, double slack);
  double slack(Index unit) const;

  std::shared_ptr<Piece> piece_;
  Modes::Forces forces_;
  double rtol_, atol_;
  std::vector<Look> looks_;  // at the start of the step and at its nodes
  Matrix to_bernstein_;      // from the values there
  Vector state_, residual_, force_, sizes_;
  std::vector<Crossing> first_;
};

}  // namespace grokflow
