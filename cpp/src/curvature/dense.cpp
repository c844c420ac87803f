#include "curvature/dense.hpp"

#include <utility>

#include "curvature/dense_solver.hpp"
#include "curvature/full_hessian.hpp"
#include "linearized.hpp"

namespace grokflow {
namespace {

/// Cholesky, so that negative curvature that an implicit step would step over is seen: I + z H > 0, or a
/// smaller z.
using RealSolver = DenseSolver<double, Factorisation::cholesky>;
using ComplexSolver = DenseSolver<Complex, Factorisation::lu>;

}  // namespace

DenseCurvature::DenseCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats)
    : problem_(std::move(problem)),
      decay_(decay),
      stats_(stats),
      hessian_(*problem_, stats_),
      full_hessian_(problem_->has_hessian()),
      matrix_(problem_->num_params(), problem_->num_params()) {}

void DenseCurvature::linearize(const ConstVectorRef& w) {
  linearized(*problem_, w, lin_).checkpoint = checkpoint;
  hessian_.begin(w, *lin_);
  form();
}

/// D + H at the last point, by the same operations whenever it was asked for.
void DenseCurvature::form() {
  ++point_;
  form_hessian(*problem_, *lin_, matrix_, stats_);
  if (full_hessian_ && !problem_->has_hessian()) hessian_.complete(matrix_);
  decay_.add_to(matrix_);
}

bool DenseCurvature::sharpen() {
  if (full_hessian_) return false;
  full_hessian_ = true;
  form();
  return true;
}

void DenseCurvature::state(Archive& archive) {
  bool full = full_hessian_;
  archive(full);
  if (full != full_hessian_) {
    full_hessian_ = full;
    form();
  }
  archive(point_);
}

bool DenseCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  if (!solver) solver = std::make_unique<RealSolver>(matrix_.rows(), stats_);
  return static_cast<RealSolver&>(*solver).factor(matrix_, z, point_);
}

bool DenseCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  if (!solver) solver = std::make_unique<ComplexSolver>(matrix_.rows(), stats_);
  return static_cast<ComplexSolver&>(*solver).factor(matrix_, z, point_);
}

}  // namespace grokflow
