// dw/dt = -grad F(w) - D w, with D = lam I or lam by parameter block.
//
//   auto problem = std::make_shared<Chain>(y);                       // see problem.hpp
//   grokflow::GradientFlow flow(problem, grokflow::Decay(problem->num_params(), 1e-3));
//   grokflow::Integrator integrator(flow, grokflow::make_bdf(flow), w0, 0.0, 1e4);   // see integrate.hpp
//   while (integrator.step() == grokflow::Status::running) {}
//   // integrator.t(), integrator.w(), flow.stats()
//
// A problem that is smooth only piece by piece, as a network of ReLUs, wants a flow on a piece of it and
// steps that end where the piece does (modes.hpp); `GradientRun` (runs.hpp) makes them, and chooses what
// suits each problem.
#pragma once

#include <memory>

#include "grokflow/curvature.hpp"
#include "grokflow/decay.hpp"
#include "grokflow/flow.hpp"
#include "grokflow/problem.hpp"

namespace grokflow {

class GradientFlow final : public Flow {
 public:
  /// `options.memory_budget` holds for the matrices of any curvature. Throws std::invalid_argument if the
  /// problem does not offer what the curvature needs.
  GradientFlow(std::shared_ptr<const Problem> problem, Decay decay,
               CurvatureKind curvature = CurvatureKind::automatic, const CurvatureOptions& options = {});

  Index size() const override { return problem_->num_params(); }
  bool is_linear() const override { return problem_->is_quadratic(); }
  /// c r.
  Index num_forces() const override {
    return curvature_ == CurvatureKind::gram && problem_->has_forces() ? problem_->num_residuals() : 0;
  }
  void forces(const ConstVectorRef& w, VectorRef out) override;
  const Problem& problem() const { return *problem_; }
  const Decay& decay() const { return decay_; }
  /// The strategy in use: never `automatic`.
  CurvatureKind curvature() const { return curvature_; }

 protected:
  void compute_rhs(const ConstVectorRef& w, VectorRef out) override;
  void compute_rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out,
                   VectorRef gap) override;
  void compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) override;

 private:
  std::shared_ptr<const Problem> problem_;
  Decay decay_;
  CurvatureKind curvature_;
  CurvatureOptions options_;
  std::unique_ptr<Linearization> at_;  // where forces act
};

}  // namespace grokflow
