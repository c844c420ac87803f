// dw/dt = -grad F(w) - D w, with D = lam I or lam by parameter block, and factor(t) D where there is a schedule.
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
#include <vector>

#include "grokflow/curvature.hpp"
#include "grokflow/decay.hpp"
#include "grokflow/flow.hpp"
#include "grokflow/problem.hpp"
#include "grokflow/schedule.hpp"

namespace grokflow {

class GradientFlow final : public Flow {
 public:
  /// `options.memory_budget` holds for the matrices of any curvature. Throws std::invalid_argument if the
  /// problem does not offer what the curvature needs.
  GradientFlow(std::shared_ptr<const Problem> problem, Decay decay,
               CurvatureKind curvature = CurvatureKind::automatic, const CurvatureOptions& options = {},
               Schedule schedule = {}, double t0 = 0.0);

  Index size() const override { return problem_->num_params(); }
  bool is_linear() const override { return problem_->is_quadratic() && !schedule_; }
  bool is_symmetric() const override { return true; }
  /// c r.
  Index num_forces() const override {
    const bool balance = curvature_ == CurvatureKind::gram && problem_->has_forces();
    return balance ? problem_->num_residuals() : 0;
  }
  void forces(const ConstVectorRef& w, VectorRef out) override;
  const Problem& problem() const { return *problem_; }
  /// Where there is a schedule, that of the last linearisation.
  const Decay& decay() const { return decay_; }
  /// From the start to the first break of the schedule, from there to the next, and so on.
  Index num_pieces() const { return static_cast<Index>(begins_.size()); }
  /// Infinite for the last one.
  double length_of_piece(Index piece) const;
  double begin_of_piece() const { return begins_[piece_]; }
  /// That of the schedule, inside the piece.
  double decay_factor(double t) const;
  /// The time of evaluations counts from the begin of this piece from now on.
  void enter_piece(Index piece) { piece_ = piece; }
  /// The strategy in use: never `automatic`.
  CurvatureKind curvature() const { return curvature_; }

 protected:
  void compute_rhs(const ConstVectorRef& w, VectorRef out) override;
  void compute_rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out,
                   VectorRef gap) override;
  void compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) override;

 private:
  /// That now.
  double factor() const;

  std::shared_ptr<const Problem> problem_;
  const Decay whole_;  // of factor 1
  Decay decay_;        // as curvatures see it
  Schedule schedule_;
  std::vector<double> begins_;  // of the pieces
  Index piece_ = 0;
  CurvatureKind curvature_;
  CurvatureOptions options_;
  std::unique_ptr<Linearization> at_;  // where forces act
};

}  // namespace grokflow
