#include "grokflow/curvature.hpp"

#include <sstream>
#include <stdexcept>

#include "curvature_dense.hpp"
#include "curvature_gram.hpp"

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
    case CurvatureKind::none:
      return "none";
    default:
      return "auto";
  }
}

CurvatureKind choose_curvature(const Problem& problem, CurvatureKind kind, double memory_budget) {
  const Index n = problem.num_residuals(), d = problem.num_params();
  const bool gram_fits = problem.has_residuals() && matrix_bytes(n) <= memory_budget;
  const bool dense_fits = matrix_bytes(d) <= memory_budget;
  const bool dense_possible = problem.has_residuals() || problem.has_hessian();
  const std::string budget = " (the budget is " + gibibytes(memory_budget) + ")";
  switch (kind) {
    case CurvatureKind::none:
      return kind;
    case CurvatureKind::gram:
      if (!problem.has_residuals())
        refuse("curvature 'gram' needs residuals, and this problem has none; use 'dense'");
      if (!gram_fits)
        refuse("curvature 'gram' needs " + gibibytes(matrix_bytes(n)) + " for its " + std::to_string(n) +
               " x " + std::to_string(n) + " matrices" + budget +
               "; raise the budget, or use fewer residuals");
      return kind;
    case CurvatureKind::dense:
      if (!dense_possible)
        refuse(
            "curvature 'dense' needs hessian= or hvp=, and this problem gives neither; method='ROCK2' needs "
            "nothing but the gradient");
      if (!dense_fits)
        refuse("curvature 'dense' needs " + gibibytes(matrix_bytes(d)) + " for its " + std::to_string(d) +
               " x " + std::to_string(d) + " matrices" + budget + "; raise the budget, or use 'gram'");
      return kind;
    default:
      break;
  }
  if (gram_fits && n <= d) return CurvatureKind::gram;
  if (dense_possible && d <= kDenseLimit && dense_fits) return CurvatureKind::dense;
  if (gram_fits) return CurvatureKind::gram;
  if (!dense_possible)
    refuse(
        "an implicit method needs curvature, and this problem gives only its gradient: add hessian= or hvp=, "
        "or take method='ROCK2', which needs nothing but the gradient");
  if (!problem.has_residuals())
    refuse("this problem has no residuals and d = " + std::to_string(d) + " exceeds " +
           std::to_string(kDenseLimit) +
           ", up to which the d x d Hessian is chosen by itself; pass curvature='dense' to insist");
  refuse("neither the n x n kernel (" + gibibytes(matrix_bytes(n)) + ") nor the d x d Hessian (" +
         gibibytes(matrix_bytes(d)) + ") fits the memory budget of " + gibibytes(memory_budget));
}

std::unique_ptr<Curvature> make_curvature(CurvatureKind kind, std::shared_ptr<const Problem> problem,
                                          const Decay& decay, Stats& stats) {
  if (kind == CurvatureKind::dense) return std::make_unique<DenseCurvature>(std::move(problem), decay, stats);
  return std::make_unique<GramCurvature>(std::move(problem), decay, stats);
}

}  // namespace grokflow
