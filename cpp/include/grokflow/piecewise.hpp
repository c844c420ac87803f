// Losses that are smooth piece by piece, and their flows: networks whose activation has a kink.
//
// F is continuous, and smooth except on surfaces where its gradient jumps. The surfaces come in units (the
// neurons of a network), as many for each unit (one for each distinct input, where the pre-activation is 0).
// Each is a plane of the unit's own parameters y: {<normal, y> + offset = 0}, where the offset is what parameters
// that are frozen add; else it is 0. A `Mode` says on which side of each surface w is, `off` (the left-hand side is
// not positive) or `on`; or that w slides on it. Across a surface the field
// dw/dt = -grad F - D w jumps along the normal, by minus `jump`:
//
//   field on = field off - jump * normal.
//
// Where jump > 0 a field may point to the surface from both sides. The solution of the differential inclusion
// (Filippov, Differential Equations with Discontinuous Righthand Sides, 1988, II.4) then slides: its
// velocity is
//
//   field off - sum_i theta_i jump_i normal_i,    0 <= theta_i <= 1,    orthogonal to the normals,
//
// the projection of the field on the surfaces met. It leaves where a multiplier theta reaches 0 (to the side
// off) or 1 (on). F being continuous and jump_i normal_i the jump of its gradient, this is the steepest
// descent: the element of least norm in Clarke's subdifferential.
//
// Field and jumps of a unit are proportional to its `gain` (the outer weight of a neuron). Where the gain
// changes its sign, all surfaces that attracted the unit repel it, from both sides, and it leaves them. Only
// decay at several rates, or decay of a part of what an offset is in balance with, may push w across its surfaces,
// whatever the gain.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grokflow/archive.hpp"
#include "grokflow/decay.hpp"
#include "grokflow/problem.hpp"

namespace grokflow {

enum class Side : signed char { off = -1, slide = 0, on = 1 };

/// The side of each surface, n x units.
using Mode = Eigen::Matrix<signed char, Eigen::Dynamic, Eigen::Dynamic>;

/// The field of one unit's parameters where they touch k surfaces; over the size of its gain, if all of it is
/// proportional to that.
struct Kinks {
  Matrix normals;  ///< one column for each surface
  Vector field;    ///< with all these surfaces off; components orthogonal to all normals may be left out
  Vector jumps;    ///< k
  Vector lean;     ///< where small decay would push a unit that the field leaves where it is; empty: nowhere
};

/// Parameters that stay as they are in w: none, if this is empty.
struct Frozen {
  Vector w;
  std::vector<char> holds;  ///< of each parameter, whether it does
  bool at(Index param) const { return !holds.empty() && holds[param]; }
};

/// F in one mode, continued smoothly beyond it. On surfaces that are slid on its derivatives are those along
/// them: with the orthogonal projector Pi on the surfaces slid on, J Pi, Pi grad F, Pi Hess F Pi. The
/// residual is that of the mode for w on these surfaces.
class Piece : public Problem {
 public:
  using Problem::Problem;

  virtual Index num_units() const = 0;
  virtual Index num_surfaces() const = 0;  ///< of each unit

  const Mode& mode() const { return mode_; }
  /// Changes the mode of one unit; `sides` has num_surfaces entries.
  virtual void enter(Index unit, const signed char* sides) = 0;
  /// Of all units together: surfaces slid on.
  virtual Index num_sliding() const = 0;

  /// Forces, which the gradient pulls back: n, also if a loss on top leaves no residuals,
  virtual Index num_forces() const { return num_residuals(); }
  /// and rows of J and K.
  virtual Index num_rows() const { return num_forces(); }
  /// Whether J and K tell how the forces react to a change of mode; else they go on as they were.
  virtual bool forces_react() const { return true; }
  /// out = the force at w, over c: r, or the gradient g of a loss on top.
  virtual void slopes(const ConstVectorRef& w, VectorRef out) const { residual(w, out); }
  /// What J^T pulls back to the gradient, from the force and back: the force itself, or B^+ force.
  virtual void to_rows(const ConstVectorRef&, const ConstVectorRef& force, VectorRef rows) const {
    rows = force;
  }
  virtual void from_rows(const ConstVectorRef&, const ConstVectorRef& rows, VectorRef force) const {
    force = rows;
  }

  /// out (num_surfaces x num_units): signed distances of w from the surfaces, positive `on`.
  virtual void distances(const ConstVectorRef& w, MatrixRef out) const = 0;
  /// out (num_units): ||y|| of the parameters that the surfaces of a unit bound.
  virtual void sizes(const ConstVectorRef& w, VectorRef out) const = 0;
  /// out (num_units): the factor of the field of each unit.
  virtual void gains(const ConstVectorRef& w, VectorRef out) const = 0;

  /// v <- Pi v.
  virtual void project(VectorRef v) const = 0;
  /// Takes w, which is on the surfaces slid on but for round-off, exactly there.
  virtual void hold(VectorRef w) const { project(w); }
  /// The vectors along the surfaces slid on that decay at rates of their own.
  virtual std::shared_ptr<const Decay::Slants> slants() const { return nullptr; }
  /// The constant slope of what decays, in this mode; on surfaces with an offset it takes away the decay of what they
  /// fix.
  virtual std::shared_ptr<const Vector> tilt() const { return nullptr; }
  /// Tells which decay is meant to be small: a flow without any is the limit of flows with it.
  virtual void lean(const Decay&) {}
  /// `decay` as it is felt here.
  Decay felt(Decay decay) const;
  /// What decays is multiplied by this function of time, at the time of the calls to come.
  virtual void decay_by(std::function<double(double t)> factor) { decay_by_ = std::move(factor); }
  virtual void set_time(double t) {
    if (decay_by_) decay_factor_ = decay_by_(t);
  }
  virtual double decay_factor() const { return decay_factor_; }
  /// For each surface slid on, in order of unit and surface, theta jump and (1 - theta) jump, as `Kinks` has
  /// them, where the sign of the gain is one of `signs` (num_units): both are positive while it is slid on.
  /// `force` is c r, or c g of a loss on top.
  virtual void multipliers(const ConstVectorRef& signs, const ConstVectorRef& w, const ConstVectorRef& force,
                           VectorRef low, VectorRef high) const = 0;
  /// The unit's field at the given surfaces, which w touches, with this sign of its gain.
  virtual void kinks(double sign, const ConstVectorRef& w, const ConstVectorRef& force, Index unit,
                     const std::vector<Index>& surfaces, Kinks& kinks) const = 0;
  /// Takes w, which is on these surfaces but for round-off, exactly there. Returns whether they leave the
  /// unit no freedom: without offsets, y = 0.
  virtual bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const = 0;
  /// Of a unit, as changes of mode name it.
  virtual Index index(Index unit) const { return unit; }
  /// The first sample whose pre-activation is 0 on this surface.
  virtual Index sample(Index surface) const = 0;
  /// A unit and some of its surfaces, in words.
  virtual std::string describe(Index unit, const std::vector<Index>& surfaces) const = 0;

 protected:
  Mode mode_;

 private:
  std::function<double(double t)> decay_by_;
  double decay_factor_ = 1.0;
};

/// A problem that may be smooth piece by piece only.
class PiecewiseProblem : public Problem {
 public:
  using Problem::Problem;
  virtual bool has_kinks() const = 0;
  /// begin and end of the parameters that the surfaces bound.
  virtual std::pair<Index, Index> bound() const { return {0, num_params()}; }
  /// A piece of its own for each run, on which the field has this decay; this problem must outlive it. Frozen
  /// parameters are no unit's own: w keeps them at these values, and velocities are 0 there.
  virtual std::shared_ptr<Piece> make_piece(const Decay& decay, const Frozen& frozen = {}) const = 0;
};

/// The problem as one that has kinks, or null.
const PiecewiseProblem* piecewise(const Problem& problem);

/// w crossed a surface, came to slide on it or left it.
struct ModeChange {
  enum class Kind {
    cross,
    stick,
    release,
    pin,    ///< it stuck on the last surface that left the unit any freedom
    split,  ///< both sides repel: the solution is not unique, and the side off was taken where it may be
  };
  double t;
  Index unit, sample;
  Kind kind;

  void state(Archive& archive) { archive(t, unit, sample, kind); }
};

/// "cross", "stick", "release", "pin" or "split".
const char* to_string(ModeChange::Kind kind);

}  // namespace grokflow
