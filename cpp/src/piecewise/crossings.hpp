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

  void state(Archive& archive) { archive(x, unit, surface, slot, trigger, level); }
};

/// The switching functions at one state; all but those of the gains, which may have either sign, are positive
/// inside the mode.
struct Look {
  Matrix distances;
  Vector w, force, gains, low, high;

  void state(Archive& archive) { archive(distances, w, force, gains, low, high); }
};

class Crossings {
 public:
  Crossings(std::shared_ptr<Piece> piece, Forces& forces, Tolerance tolerance);

  /// Looks at w, the start of the next step, of which the force is not known yet.
  void begin(const ConstVectorRef& w);
  /// Gives it this force.
  void impose(const ConstVectorRef& force) { impose(force, looks_.front()); }
  /// The end of the last step is the start of the next one.
  void advance() { std::swap(looks_.front(), looks_.back()); }
  /// All that ends the mode already at the start, where the force is known.
  void find_at_start();
  /// Of the multipliers found the one that is least, with this force in place of that of the start, over its jump there.
  double least_of_found(const ConstVectorRef& force);
  /// Keeps those that have reached their bounds with that force.
  void keep_reached(const ConstVectorRef& force);
  /// The fraction of the last attempt, from t on, of size h, at which its mode ends, or Modes::kNone.
  double find(const OneStepMethod& method, double t, double h);
  /// The same for a step cut short there.
  double refine(const OneStepMethod& method, double t, double h);
  /// Whether w is in the mode, but for the slack of the tolerance.
  bool contains(const ConstVectorRef& w);

  /// What was found: one instant.
  const std::vector<Crossing>& first() const { return first_; }
  bool of(Index unit, Trigger trigger) const;
  bool of(Index unit, Trigger trigger, Index surface) const;
  void clear() { first_.clear(); }

  const Look& start() const { return looks_.front(); }
  const Vector& sizes() const { return sizes_; }  ///< ||y|| of the units at the last state looked at
  double tolerance(double size) const { return atol_ + rtol_ * size; }
  /// Where the mode was found to end, from the stages of the step.
  Vector force_at_end() const;

  void state(Archive& archive) { archive(first_, looks_, nodes_, to_start_, end_, signs); }

  Vector signs;  ///< of the gain of each unit, where it slides: kept until it is seen to change

 private:
  void look(const ConstVectorRef& w, Look& out);
  void impose(const ConstVectorRef& force, Look& at) const;
  void look_along(const OneStepMethod& method, double t, double h);
  template <class Value>
  Bernstein interpolant(Value&& value) const;
  Bernstein polynomial(const Crossing& crossing) const;
  double zero_near_end() const;
  void find_near();
  void examine(Crossing crossing, double slack);
  bool alike(const Crossing& crossing, double x) const;
  /// Of a multiplier found at the start, with the force that was imposed last, over its jump with that at the start.
  double multiplier(const Crossing& crossing) const;

  std::shared_ptr<Piece> piece_;
  Forces& forces_;
  double rtol_, atol_;
  std::vector<Look> looks_;  // at the start of the step and at its nodes
  std::vector<double> nodes_;
  Matrix to_bernstein_;  // from the values there
  Vector to_start_;      // from those at the nodes alone
  double end_ = 0.0;     // where the mode was found to end
  Vector state_, force_, sizes_;
  Look way_;                      // with forces on their way to that of the start
  Eigen::ArrayXXd least_, most_;  // distances, of the sides of the mode, during a step,
  Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic> near_;  // and which surfaces might be reached
  std::vector<Crossing> first_;
};

}  // namespace grokflow
