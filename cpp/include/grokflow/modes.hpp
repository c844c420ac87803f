// Flows of losses that are smooth piece by piece: the mode along a run, and how it changes.
//
// What decides on modes are forces, c r in a gradient flow. Close to the manifold of minimisers they are of the
// size of the weight decay, far below the tolerance of w. They are known all the same at the stages of an
// implicit step, where they balance the velocity; not at states that were interpolated or moved to a surface.
// So forces come from stages only. A change of mode moves their equilibrium. What reaches the new one within a
// small part of a step is taken to do so at once, and decides; w is moved, by less than the tolerance, to where
// its residual gives this force: the next step starts on the slow manifold of its own mode. Where w would move
// farther the new equilibrium need not be near (a saddle may have been left), and steps follow what happens.
//
//   auto piece = network->make_piece(decay);                         // F continued smoothly from one mode
//   GradientFlow flow(piece, decay);                                 // an ordinary flow on it
//   Modes modes(piece, gradient_forces(piece, decay), tolerance);     // the mode, and how it changes
//   auto stepper = make_piecewise(flow, make_radau(flow, tolerance), modes, t0);
//   Integrator integrator(flow, std::move(stepper), w0, t0, t1);
//   ... modes.changes() ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grokflow/piecewise.hpp"
#include "grokflow/regularizer.hpp"
#include "grokflow/stepper.hpp"
#include "grokflow/tangent.hpp"

namespace grokflow {

class Crossings;
class SymmetricEigen;

/// The force that the gradient pulls back, grad F = J^T force (J of the outputs), in the present mode of a piece.
class Forces {
 public:
  virtual ~Forces() = default;
  /// out = the force at w.
  virtual void evaluate(const ConstVectorRef& w, VectorRef out) = 0;
  /// What `before`, the force at the end of the last mode, has become a time `tau` after the change, as far as
  /// it reacts so fast. Returns how far w moves by that.
  virtual double react(const ConstVectorRef& w, const ConstVectorRef& before, double tau, VectorRef out) = 0;
  /// Moves w to where the gradient has this force, but for what would not return to it within `tau`.
  virtual void restore(const ConstVectorRef& force, double tau, VectorRef w) = 0;
  /// What the forces of a drift are still added to, from now on.
  virtual void lead(const ConstVectorRef&) {}
};

/// The mode of a piece along a run.
class Modes {
 public:
  Modes(std::shared_ptr<Piece> piece, std::unique_ptr<Forces> forces, Tolerance tolerance);
  ~Modes();

  /// Tells, before the start of a drift, from where the flow came that landed there: its last forces fall to those of
  /// the drift, and where both sides of a surface repel in the end they decide on which one w leaves.
  void come_from(const ConstVectorRef& w) { came_from_ = w; }
  /// The mode at the start. What touches w0 is resolved; `trouble` says what could not be. A run that has begun goes on
  /// from w in its mode, with another decay.
  void begin(double t, VectorRef w);

  static constexpr double kNone = 2.0;
  /// Looks along the path of the last attempt, from t on, of size h. The fraction of the step at which the mode ends,
  /// or kNone.
  double end_of_mode(const OneStepMethod& method, double t, double h);
  /// The same, for a step cut short at that fraction: the mode ends close to its end, maybe a little beyond.
  double refine(const OneStepMethod& method, double t, double h);
  /// The step was accepted, and the mode goes on. Takes w back to the surfaces slid on, from its round-off.
  void advance(VectorRef w);
  /// The step was accepted at the end of the mode, at w: resolves the next one, and moves w onto the
  /// surfaces. `h` is the size of steps.
  void change(double t, double h, VectorRef w);

  /// Whether w is in the present mode, but for the slack of the tolerance.
  bool contains(const ConstVectorRef& w);
  /// The first surface that w touches and to a side of which the loss falls, with its unit, in words; empty if
  /// there is none. A neuron that died on a surface stays there although it would come to life beside it.
  std::string falls_beside(const ConstVectorRef& w);

  /// Whether the last change was none: the step that had met it was too long to tell.
  bool goes_on() const { return goes_on_; }
  const std::vector<ModeChange>& changes() const { return changes_; }
  /// Why the mode cannot be resolved, naming unit and surfaces; empty if it could.
  const std::string& trouble() const { return trouble_; }

  /// Writes or reads the mode, and what it remembers of its changes.
  void state(Archive& archive);

 private:
  struct Burst;

  void go_on(double t, VectorRef w);
  void resolve_at_start(double t, VectorRef w, const std::vector<Index>& touching, const Mode& sides);
  bool look_back(const ConstVectorRef& w);
  void let_fall(double t, VectorRef w);
  void react(const ConstVectorRef& w);
  void settle(double t, VectorRef w);
  void keep_first(const ConstVectorRef& w);
  /// The modes of K, in which forces fall.
  void find_modes(const ConstVectorRef& w, SymmetricEigen& modes) const;
  void restore(VectorRef w);
  void resolve_crossings(double t, VectorRef w);
  void resolve(double t, VectorRef w, Index unit, bool moving);

  std::shared_ptr<Piece> piece_;
  std::unique_ptr<Forces> forces_;
  std::unique_ptr<Crossings> crossings_;  // of the last attempt
  bool begun_ = false;
  Vector came_from_, last_forces_;  // of the flow that a drift begins after
  double h_ = 0.0;                  // size of steps; 0: at the start
  Vector before_, force_;           // at the end of the last mode, and in the present one
  Mode last_;                       // the mode that ended,
  bool goes_on_ = false;            // and whether it goes on after all
  Mode held_;                       // all that was touched at the last change, slid on
  std::vector<Burst> bursts_;       // of changes, by unit
  Index last_unit_ = -1;            // that ended the mode in the last step, if one did,
  int in_a_row_ = 0;                // and in how many steps before
  std::vector<ModeChange> changes_;
  std::string trouble_;
};

/// Lets the piece slide on every surface that w touches: its flows and Newton's method then stay there.
void stay_on_surfaces(Piece& piece, const ConstVectorRef& w);

/// The forces of gradient flow: c r.
std::unique_ptr<Forces> gradient_forces(std::shared_ptr<const Piece> piece, Decay decay);
/// Those of the drift on the manifold of minimisers, which make r stay 0: -K^-1 J grad R, the limit of
/// c r / lam for lam -> 0.
std::unique_ptr<Forces> drift_forces(std::shared_ptr<Piece> piece,
                                     std::shared_ptr<const Regularizer> regularizer,
                                     const TangentOptions& options = {});

/// Steps of `inner` inside modes; each ends where its mode ends. `inner` integrates `flow`, a flow on the
/// piece of `modes`; both must outlive the stepper.
std::unique_ptr<Stepper> make_piecewise(Flow& flow, std::unique_ptr<OneStepMethod> inner, Modes& modes,
                                        double t0);

}  // namespace grokflow
