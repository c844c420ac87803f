// The drift dw/ds = -P(w) grad R(w) on the manifold M of minimisers of F: with R = ||w||^2/2 the limit of
// gradient flow with weight decay lam -> 0 in slow time s = lam t (arXiv:2505.20172, Prop. 2).
//
//   auto norm = std::make_shared<grokflow::WeightedNorm>(grokflow::Decay(d, 1.0));
//   grokflow::NormFlow flow(problem, norm, grokflow::CurvatureKind::gram);
//   grokflow::Integrator integrator(flow, grokflow::make_tsit5(flow, {1e-6, 1e-9}), w0, 0.0, 10.0);
//
// w0 has to lie on M (see landing.hpp). The drift is not stiff; an explicit method calls `retract` before it
// accepts a state, so that the residual stays at round-off however long the run. The stages of a step lie
// beside M (`TangentSpace::linearize_beside`).
#pragma once

#include <memory>

#include "grokflow/flow.hpp"
#include "grokflow/regularizer.hpp"
#include "grokflow/tangent.hpp"

namespace grokflow {

class Piece;

class NormFlow final : public Flow {
 public:
  /// `curvature` is gram, dense or krylov.
  NormFlow(std::shared_ptr<const Problem> problem, std::shared_ptr<const Regularizer> regularizer,
           CurvatureKind curvature, const TangentOptions& options = {});

  Index size() const override { return problem_->num_params(); }
  bool retract(VectorRef w) override;
  std::string trouble() override;
  void state(Archive& archive) override;

  const Problem& problem() const { return *problem_; }
  /// The tangent space at the last state that was evaluated.
  TangentSpace& tangent() { return *tangent_; }
  /// ||P grad R|| / ||grad R|| there: 0 at a KKT point of min R on M.
  double stationarity() const { return stationarity_; }

 protected:
  void compute_rhs(const ConstVectorRef& w, VectorRef out) override;

 private:
  bool arrive(const ConstVectorRef& w, double size);

  std::shared_ptr<const Problem> problem_;
  const Piece* piece_;  // the same, or null
  std::shared_ptr<const Regularizer> regularizer_;
  std::unique_ptr<TangentSpace> tangent_;
  bool begun_ = false;
  Vector point_;    // the last one that is known to lie on M
  Vector foot_;     // the last one of M at which the Hessian was frozen
  Matrix steps_;    // of one retraction
  Vector squares_;  // their squared norms
  double stationarity_ = 1.0;
};

}  // namespace grokflow
