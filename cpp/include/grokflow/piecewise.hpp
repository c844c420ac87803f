// Losses that are smooth piece by piece, and their flows: networks whose activation has a kink.
//
// F is continuous, and smooth except on surfaces where its gradient jumps. The surfaces come in units (the
// neurons of a network), as many for each unit (one for each distinct input, where the pre-activation is 0).
// Each is linear in the unit's own parameters y: {<normal, y> = 0}. A `Mode` says on which side of each
// surface w is, `off` (<normal, y> <= 0) or `on`; or that w slides on it. Across a surface the field
// dw/dt = -grad F - D w jumps along the normal, by minus `jump`:
//
//   field on = field off - jump * normal.
//
// Where jump > 0 a field may point to the surface from both sides. The solution of the differential inclusion
// (Filippov, Differential Equations with Discontinuous Righthand Sides, 1988, II.4) then slides: its velocity
// is
//
//   field off - sum_i theta_i jump_i normal_i,    0 <= theta_i <= 1,    orthogonal to the normals,
//
// the projection of the field on the surfaces met. It leaves where a multiplier theta reaches 0 (to the side
// off) or 1 (on). F being continuous and jump_i normal_i the jump of its gradient, this is the steepest
// descent: the element of least norm in Clarke's subdifferential.
//
// Field and jumps of a unit are proportional to its `gain` (the outer weight of a neuron). Where the gain
// changes its sign, all surfaces that attracted the unit repel it, from both sides, and it leaves them.
//
//   auto piece = network->make_piece();                              // F continued smoothly from one mode
//   GradientFlow flow(piece, decay);                                 // an ordinary flow on it
//   Modes modes(piece, gradient_forces(*piece), tolerance);          // the mode, and how it changes
//   auto stepper = make_piecewise(flow, make_radau(flow, tolerance), modes, t0);
//   Integrator integrator(flow, std::move(stepper), w0, t0, t1);
//   ... modes.changes() ...
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grokflow/decay.hpp"
#include "grokflow/problem.hpp"
#include "grokflow/regularizer.hpp"
#include "grokflow/stepper.hpp"
#include "grokflow/tangent.hpp"

namespace grokflow {

enum class Side : signed char { off = -1, slide = 0, on = 1 };

/// The side of each surface, n x units.
using Mode = Eigen::Matrix<signed char, Eigen::Dynamic, Eigen::Dynamic>;

/// The field of one unit's parameters, over the size of its gain, where they touch k surfaces.
struct Kinks {
  Matrix normals;  ///< one column for each surface
  Vector field;    ///< with all these surfaces off; components orthogonal to all normals may be left out
  Vector jumps;    ///< k
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

  /// `distances` (num_surfaces x num_units): signed distances of w from the surfaces, positive `on`; and
  /// r(w).
  virtual void look(const ConstVectorRef& w, MatrixRef distances, VectorRef residual) const = 0;
  /// out (num_units): ||y|| of the parameters that the surfaces of a unit bound.
  virtual void sizes(const ConstVectorRef& w, VectorRef out) const = 0;
  /// out (num_units): the factor of the field of each unit.
  virtual void gains(const ConstVectorRef& w, VectorRef out) const = 0;

  /// v <- Pi v.
  virtual void project(VectorRef v) const = 0;
  /// For each surface slid on, in order of unit and surface, theta jump and (1 - theta) jump over the size
  /// of the gain, whose sign is one of `signs` (num_units): both are positive while it is slid on. `force`
  /// (n) is what the gradient pulls back: grad F = J^T force, force = c r.
  virtual void multipliers(const ConstVectorRef& signs, const ConstVectorRef& force, VectorRef low,
                           VectorRef high) const = 0;
  /// The unit's field at the given surfaces, which w touches, with this sign of its gain.
  virtual void kinks(double sign, const ConstVectorRef& force, Index unit, const std::vector<Index>& surfaces,
                     Kinks& kinks) const = 0;
  /// Takes w, which is on these surfaces but for round-off, exactly there. Returns whether they leave the
  /// unit no freedom: y = 0.
  virtual bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const = 0;
  /// The first sample whose pre-activation is 0 on this surface.
  virtual Index sample(Index surface) const = 0;
  /// A unit and some of its surfaces, in words.
  virtual std::string describe(Index unit, const std::vector<Index>& surfaces) const = 0;

 protected:
  Mode mode_;
};

/// A problem that may be smooth piece by piece only.
class PiecewiseProblem : public Problem {
 public:
  using Problem::Problem;
  virtual bool has_kinks() const = 0;
  /// A piece of its own for each run; this problem must outlive it.
  virtual std::shared_ptr<Piece> make_piece() const = 0;
  /// Throws std::invalid_argument if sliding does not commute with this decay: the parameters bounded by the
  /// surfaces of a unit must share one rate.
  virtual void require_decay(const Decay& decay) const = 0;
};

/// The problem as one that has kinks, or null.
const PiecewiseProblem* piecewise(const Problem& problem);

/// w crossed a surface, came to slide on it or left it.
struct ModeChange {
  enum class Kind {
    cross,
    stick,
    release,
    pin,    ///< it stuck on the last surface that left the unit any freedom: y = 0
    split,  ///< both sides repel: the solution is not unique, and the side off was taken where it may be
  };
  double t;
  Index unit, sample;
  Kind kind;
};

/// "cross", "stick", "release", "pin" or "split".
const char* to_string(ModeChange::Kind kind);

/// A polynomial by its Bernstein coefficients, of a degree up to 5.
using Bernstein = std::array<double, 6>;

/// The mode of a piece along a run.
class Modes {
 public:
  /// The force (n) at w with residual r: c r for a gradient flow.
  using Forces = std::function<void(const ConstVectorRef& w, const ConstVectorRef& r, VectorRef force)>;

  Modes(std::shared_ptr<Piece> piece, Forces forces, Tolerance tolerance);

  /// The mode at the start. What touches w0 is resolved; `trouble` says what could not be.
  void begin(double t, VectorRef w);

  /// Looks along the path of the last attempt. The fraction of the step at which the mode ends, or a
  /// number beyond 1.
  double end_of_mode(const OneStepMethod& method);
  /// The same, for a step cut short at that fraction: the surface is reached at its end up to a small
  /// correction.
  double refine(const OneStepMethod& method);
  /// The step was accepted, and the mode goes on. Takes w back to the surfaces slid on, from its round-off.
  void advance(VectorRef w);
  /// The step was accepted at the end of the mode, at w: resolves the next one, and moves w onto the
  /// surfaces.
  void change(double t, VectorRef w);

  /// Whether w is in the present mode, but for the slack of the tolerance.
  bool contains(const ConstVectorRef& w);

  const std::vector<ModeChange>& changes() const { return changes_; }
  /// Why the mode cannot be resolved, naming unit and surfaces; empty if it could.
  const std::string& trouble() const { return trouble_; }

 private:
  enum class Trigger { distance, low, high, gain };
  struct Crossing {
    double x;
    Index unit, surface, slot;  // slot: among the multipliers
    Trigger trigger;
    double level;  // the switching function is minus this there
  };
  /// The switching functions at one state.
  struct Look {
    Matrix distances;
    Vector gains, low, high;
  };
  struct Recent {
    double since = 0.0;
    int count = 0;
    bool crowded(double t, int most);
  };

  void look(const ConstVectorRef& w, Look& out);
  void look_along(const OneStepMethod& method);
  template <class Value>
  Bernstein interpolant(Value&& value) const;
  Bernstein polynomial(const Crossing& crossing) const;
  void examine(Crossing crossing, double slack);
  void find_crossings();
  void resolve_crossings(double t, VectorRef w);
  void resolve(double t, VectorRef w, Index unit, bool moving);
  bool ends(Index unit, Trigger trigger) const;
  bool ends(Index unit, Trigger trigger, Index surface) const;
  void settle(double t, VectorRef w);

  std::shared_ptr<Piece> piece_;
  Forces forces_;
  Tolerance tolerance_;
  std::vector<Look> looks_;  // at the start of the step and at its nodes
  Matrix to_bernstein_;      // from the values there
  Vector state_, residual_, force_, sizes_;
  Vector signs_;  // of the gain of each unit, where it slides: kept until it is seen to change
  std::vector<Crossing> crossings_;  // the first of the last attempt
  std::vector<Recent> recent_;       // by unit
  Index last_unit_ = -1;             // that ended the mode in the last step, if one did,
  int in_a_row_ = 0;                 // and in how many steps before
  std::vector<ModeChange> changes_;
  std::string trouble_;
};

/// Lets the piece slide on every surface that w touches: its flows and Newton's method then stay there.
void stay_on_surfaces(Piece& piece, const ConstVectorRef& w);

/// The forces of gradient flow: c r.
Modes::Forces gradient_forces(const Piece& piece);
/// Those of the drift on the manifold of minimisers, which make r stay 0: -K^-1 J grad R, the limit of c r /
/// lam for lam -> 0.
Modes::Forces drift_forces(std::shared_ptr<Piece> piece, std::shared_ptr<const Regularizer> regularizer,
                           const TangentOptions& options = {});

/// Steps of `inner` inside modes; each ends where its mode ends. `inner` integrates `flow`, a flow on the
/// piece of `modes`; both must outlive the stepper.
std::unique_ptr<Stepper> make_piecewise(Flow& flow, std::unique_ptr<OneStepMethod> inner, Modes& modes,
                                        double t0);

}  // namespace grokflow
