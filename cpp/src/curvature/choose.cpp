#include "grokflow/curvature.hpp"

#include <cmath>
#include <sstream>
#include <stdexcept>

#include "curvature/adaptive.hpp"
#include "curvature/dense.hpp"
#include "grokflow/piecewise.hpp"

namespace grokflow {
namespace {

std::string gibibytes(double bytes) {
  std::ostringstream text;
  text.precision(3);
  text << bytes / (1024.0 * 1024.0 * 1024.0) << " GiB";
  return text.str();
}

/// The matrix and its factor, real and complex: what Radau needs at most.
double matrix_bytes(Index size) { return 4.0 * 8.0 * static_cast<double>(size) * static_cast<double>(size); }

constexpr Index kFew = 100;  // residuals, whose matrices are cheap beside all else

/// Gradients that K may cost. One from a clock has no way back to krylov, and with kinks it is `gram` alone that takes
/// the forces as unknowns.
double worthwhile(const Problem& problem) {
  if (problem.cost().measured) return 40.0;
  return problem.num_residuals() <= kFew || problem.has_forces() || piecewise(problem) ? 60.0 : 20.0;
}

[[noreturn]] void refuse(const std::string& text) { throw std::invalid_argument(text); }

}  // namespace

const char* to_string(CurvatureKind kind) {
  switch (kind) {
    case CurvatureKind::gram:
      return "gram";
    case CurvatureKind::dense:
      return "dense";
    case CurvatureKind::krylov:
      return "krylov";
    case CurvatureKind::adaptive:
      return "adaptive";
    case CurvatureKind::none:
      return "none";
    default:
      return "auto";
  }
}

double kernel_cost(const Problem& problem, double parts) {
  const double n = static_cast<double>(problem.num_residuals());
  const double factor = 2.0 / 3.0 * n * n * n;  // n^3/3 operations at half the rate
  const Cost cost = problem.cost();
  return 0.5 + (parts * cost.gram + factor) / cost.gradient;
}

CurvatureKind choose_curvature(const Problem& problem, CurvatureKind kind, double memory_budget) {
  const Index n = problem.num_residuals(), d = problem.num_params();
  const bool gram_fits = problem.has_residuals() && matrix_bytes(n) <= memory_budget;
  const bool dense_fits = matrix_bytes(d) <= memory_budget;
  const bool dense_possible = problem.has_residuals() || problem.has_hessian();
  const bool krylov_possible = problem.has_residuals() || problem.has_hvp();
  const std::string budget = " (the memory budget is " + gibibytes(memory_budget) + ")";
  switch (kind) {
    case CurvatureKind::none:
      return kind;
    case CurvatureKind::gram:
    case CurvatureKind::adaptive:
      if (!problem.has_residuals())
        refuse("curvature 'gram' needs residuals, and this problem has none; use 'dense' or 'krylov'");
      if (!gram_fits)
        refuse("curvature 'gram' needs " + gibibytes(matrix_bytes(n)) + " for its " + std::to_string(n) +
               " x " + std::to_string(n) + " matrices" + budget +
               "; raise memory_budget, or use 'krylov', which forms no matrix");
      return kind;
    case CurvatureKind::dense:
      if (!dense_possible)
        refuse(
            "curvature 'dense' needs hessian= or hvp=, and this problem gives neither; method='ROCK2' needs "
            "nothing but the gradient");
      if (!dense_fits)
        refuse("curvature 'dense' needs " + gibibytes(matrix_bytes(d)) + " for its " + std::to_string(d) +
               " x " + std::to_string(d) + " matrices" + budget + "; raise memory_budget, or use " +
               (krylov_possible ? "'krylov', which forms no matrix" : "hvp= with 'krylov'"));
      return kind;
    case CurvatureKind::krylov:
      if (!krylov_possible)
        refuse("curvature 'krylov' needs residuals or hvp=, and this problem gives neither" +
               std::string(dense_possible ? "; use 'dense'" : ""));
      return kind;
    default:
      break;
  }
  if (problem.solves()) return CurvatureKind::krylov;
  const bool cheap = d <= kDenseFirst || problem.is_quadratic();
  // Where both matrices are of one size, that of the Hessian serves also where J loses its rank.
  const bool smaller = n < d || (n == d && d > kDenseFirst);
  if (gram_fits && smaller && (cheap || kernel_cost(problem) <= worthwhile(problem)))
    return CurvatureKind::gram;
  const Index most = krylov_possible && !problem.is_quadratic() ? kDenseFirst : kDenseLimit;
  if (dense_possible && d <= most && dense_fits) return CurvatureKind::dense;
  if (gram_fits && smaller && std::isfinite(kernel_cost(problem)) && !problem.cost().measured)
    return CurvatureKind::adaptive;
  if (krylov_possible) return CurvatureKind::krylov;
  if (!dense_possible)
    refuse(
        "an implicit method needs curvature, and this problem gives only its gradient: add hessian= or hvp=, "
        "or take method='ROCK2', which needs nothing but the gradient");
  refuse("this problem has no residuals and no hvp=, and d = " + std::to_string(d) +
         " is too large for its d x d Hessian (" + gibibytes(matrix_bytes(d)) +
         ") to be chosen by itself; add hvp=, or pass curvature='dense' to insist");
}

std::unique_ptr<Curvature> make_curvature(CurvatureKind kind, std::shared_ptr<const Problem> problem,
                                          const Decay& decay, Stats& stats, const CurvatureOptions& options) {
  if (kind == CurvatureKind::dense) return std::make_unique<DenseCurvature>(std::move(problem), decay, stats);
  if (kind == CurvatureKind::krylov)
    return std::make_unique<KrylovCurvature>(std::move(problem), decay, stats, options);
  if (kind == CurvatureKind::adaptive)
    return std::make_unique<AdaptiveCurvature>(std::move(problem), decay, stats, options);
  return std::make_unique<GramCurvature>(std::move(problem), decay, stats);
}

}  // namespace grokflow
