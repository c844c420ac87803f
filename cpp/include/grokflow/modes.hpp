// Flows of losses that are smooth piece by piece: the mode along a run, and how it changes.
//
//   auto piece = network->make_piece();                              // F continued smoothly from one mode
//   GradientFlow flow(piece, decay);                                 // an ordinary flow on it
//   Modes modes(piece, gradient_forces(*piece), tolerance);          // the mode, and how it changes
//   auto stepper = make_piecewise(flow, make_radau(flow, tolerance), modes, t0);
//   Integrator integrator(flow, std::move(stepper), w0, t0, t1);
//   ... modes.changes() ...
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grokflow/piecewise.hpp"
#include "grokflow/regularizer.hpp"
#include "grokflow/stepper.hpp"
#include "grokflow/tangent.hpp"

namespace grokflow {

class Crossings;

/// The mode of a piece along a run.
class Modes {
 public:
  /// The force (n) at w with residual r: c r for a gradient flow.
  using Forces = std::function<void(const ConstVectorRef& w, const ConstVectorRef& r, VectorRef force)>;

  Modes(std::shared_ptr<Piece> piece, Forces forces, Tolerance tolerance);
  ~Modes();

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
  struct Burst;

  void settle(double t, VectorRef w);
  void resolve_crossings(double t, VectorRef w);
  void resolve(double t, VectorRef w, Index unit, bool moving);

  std::shared_ptr<Piece> piece_;
  std::unique_ptr<Crossings> crossings_;  // of the last attempt
  std::vector<Burst> bursts_;             // of changes, by unit
  Index last_unit_ = -1;                  // that ended the mode in the last step, if one did,
  int in_a_row_ = 0;                      // and in how many steps before
  std::vector<ModeChange> changes_;
  std::string trouble_;
};

/// Lets the piece slide on every surface that w touches: its flows and Newton's method then stay there.
void stay_on_surfaces(Piece& piece, const ConstVectorRef& w);

/// The forces of gradient flow: c r.
Modes::Forces gradient_forces(const Piece& piece);
/// Those of the drift on the manifold of minimisers, which make r stay 0: -K^-1 J grad R, the limit of
/// c r / lam for lam -> 0.
Modes::Forces drift_forces(std::shared_ptr<Piece> piece, std::shared_ptr<const Regularizer> regularizer,
                           const TangentOptions& options = {});

/// Steps of `inner` inside modes; each ends where its mode ends. `inner` integrates `flow`, a flow on the
/// piece of `modes`; both must outlive the stepper.
std::unique_ptr<Stepper> make_piecewise(Flow& flow, std::unique_ptr<OneStepMethod> inner, Modes& modes,
                                        double t0);

}  // namespace grokflow
