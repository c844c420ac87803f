#include "grokflow/tangent.hpp"

#include <limits>
#include <stdexcept>
#include <utility>

#include "tangent/dense.hpp"
#include "tangent/gram.hpp"
#include "tangent/krylov.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {

Vector unstructured(Index size) {
  Vector v(size);
  std::uint64_t state = 0x9E3779B97F4A7C15u;
  for (Index i = 0; i < size; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v[i] = static_cast<double>(state >> 11) * 0x1p-53 - 0.5;
  }
  return v.normalized();
}

bool residual_vanishes(const Problem& problem, const ConstVectorRef& w) {
  if (!problem.has_residuals()) return false;
  Vector r(problem.num_residuals()), change(problem.num_residuals());
  problem.residual(w, r);
  if (r.norm() <= kOnManifold * w.norm()) return true;
  // What r would be if the weights were rounded: J w is the size of the terms that cancel in it.
  std::unique_ptr<Linearization> lin;
  problem.linearize(w, lin);
  lin->jvp(w, change);
  return r.norm() <= kOnManifold * (change.norm() + w.norm());
}

bool residual_stays(const Problem& problem, const ConstVectorRef& w) {
  constexpr double kCritical = 1e-5;  // ||J^T r|| over the size of J times that of r
  if (residual_vanishes(problem, w)) return false;
  Vector r(problem.num_residuals()), change(problem.num_residuals()), pull(problem.num_params());
  problem.residual(w, r);
  std::unique_ptr<Linearization> lin;
  problem.linearize(w, lin);
  lin->jvp(w, change);
  lin->vjp(r, pull);
  return pull.norm() * w.norm() <= kCritical * change.norm() * r.norm();
}

CurvatureKind full_hessian_kind(const Problem& problem) {
  if (problem.has_hessian() && problem.num_params() <= kDenseLimit) return CurvatureKind::dense;
  return problem.has_hvp() ? CurvatureKind::krylov : CurvatureKind::none;
}

constexpr double kWorthwhile = 600.0;  // gradients, that K may cost beside a solve to many digits

CurvatureKind choose_tangent_space(const Problem& problem, CurvatureKind kind, double memory_budget) {
  const Index n = problem.num_residuals(), d = problem.num_params();
  const bool matrix_free = problem.has_residuals() || problem.has_hvp();
  if (kind != CurvatureKind::automatic) return choose_curvature(problem, kind, memory_budget);
  const auto fits = [&](Index size) { return 3.0 * 8.0 * double(size) * double(size) <= memory_budget; };
  const bool cheap = d <= kDenseLimit || problem.is_quadratic();
  if (problem.has_residuals() && n <= d && fits(n) && (cheap || kernel_cost(problem) <= kWorthwhile))
    return CurvatureKind::gram;
  if ((problem.has_residuals() || problem.has_hessian()) && d <= kDenseLimit && fits(d))
    return CurvatureKind::dense;
  if (matrix_free) return CurvatureKind::krylov;
  return choose_curvature(problem, CurvatureKind::dense, memory_budget);  // it says what is missing
}

CurvatureKind choose_tangent_space(const Problem& problem, CurvatureKind kind, double memory_budget,
                                   const ConstVectorRef& w) {
  const CurvatureKind chosen = choose_tangent_space(problem, kind, memory_budget);
  if (kind != CurvatureKind::automatic || chosen != CurvatureKind::gram || !residual_stays(problem, w))
    return chosen;
  const CurvatureKind full = full_hessian_kind(problem);
  return full == CurvatureKind::none ? chosen : full;
}

Offset TangentSpace::offset(const Problem& problem, const ConstVectorRef& w) {
  Vector step(w.size());
  normal_step(w, step);
  const double distance = step.stableNorm();
  problem.gradient(w, step);
  return {distance, step.stableNorm()};
}

void TangentSpace::multipliers(const ConstVectorRef&, VectorRef) {
  throw std::logic_error("only the tangent space in kernel space knows multipliers");
}

std::unique_ptr<TangentSpace> make_tangent_space(CurvatureKind kind, std::shared_ptr<const Problem> problem,
                                                 const TangentOptions& options, Stats& stats) {
  if (!problem) throw std::invalid_argument("the problem is a null pointer");
  if (kind == CurvatureKind::automatic) kind = choose_tangent_space(*problem, kind, options.memory_budget);
  if (kind == CurvatureKind::gram && !problem->has_residuals())
    throw std::invalid_argument("curvature 'gram' needs residuals, and this problem has none");
  std::unique_ptr<TangentSpace> tangent;
  if (kind == CurvatureKind::gram)
    tangent = std::make_unique<GramTangent>(std::move(problem), options, stats);
  else if (kind == CurvatureKind::dense)
    tangent = std::make_unique<DenseTangent>(std::move(problem), options, stats);
  else if (kind == CurvatureKind::krylov)
    tangent = std::make_unique<KrylovTangent>(std::move(problem), options, stats);
  else
    throw std::invalid_argument("a tangent space needs curvature: 'gram', 'dense' or 'krylov'");
  tangent->checkpoint = options.checkpoint;
  return tangent;
}

}  // namespace grokflow
