#include "grokflow/gradient_flow.hpp"

#include <stdexcept>
#include <utility>

namespace grokflow {
namespace {

const Problem& existing(const std::shared_ptr<const Problem>& problem) {
  if (!problem) throw std::invalid_argument("the problem is a null pointer");
  return *problem;
}

}  // namespace

GradientFlow::GradientFlow(std::shared_ptr<const Problem> problem, Decay decay, CurvatureKind curvature,
                           const CurvatureOptions& options)
    : problem_(std::move(problem)),
      decay_(std::move(decay)),
      curvature_(choose_curvature(existing(problem_), curvature, options.memory_budget)),
      options_(options) {
  decay_.require_size(size());
}

void GradientFlow::compute_rhs(const ConstVectorRef& w, VectorRef out) {
  problem_->gradient(w, out);
  out = -out;
  decay_.add_product(-1.0, w, out);
}

void GradientFlow::compute_rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out,
                               VectorRef gap) {
  problem_->linearize(w, at_);
  gap = *at_->scaled_residual() - forces;
  at_->vjp(forces, out);
  out = -out;
  decay_.add_product(-1.0, w, out);
}

void GradientFlow::forces(const ConstVectorRef& w, VectorRef out) {
  problem_->residual(w, out);
  out *= problem_->scale();
}

void GradientFlow::compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  if (curvature_ == CurvatureKind::none) return Flow::compute_linearization(w, lin);
  if (!lin) {
    auto made = make_curvature(curvature_, problem_, decay_, stats(), options_);
    made->checkpoint = [this] { check(); };
    lin = std::move(made);
  }
  static_cast<Curvature&>(*lin).linearize(w);
}

}  // namespace grokflow
