#include "grokflow/regularizer.hpp"

#include <stdexcept>
#include <utility>

namespace grokflow {

double WeightedNorm::evaluate(const ConstVectorRef& w, VectorRef gradient) const {
  gradient.setZero();
  weights_.add_product(1.0, w, gradient);
  return 0.5 * w.dot(gradient);
}

HessianTrace::HessianTrace(std::shared_ptr<const Problem> problem) : problem_(std::move(problem)) {
  if (!problem_->has_residuals())
    throw std::invalid_argument(
        "the regularizer 'hessian_trace' needs residuals, and this problem has none; give a Regularizer of "
        "your own");
  if (!problem_->has_kernel_trace())
    throw std::invalid_argument(
        "the regularizer 'hessian_trace' is known for the squared loss only; give a Regularizer of your own");
}

double HessianTrace::evaluate(const ConstVectorRef& w, VectorRef gradient) const {
  const double trace = problem_->kernel_trace(w, gradient);
  gradient *= problem_->scale();
  return problem_->scale() * trace;
}

}  // namespace grokflow
