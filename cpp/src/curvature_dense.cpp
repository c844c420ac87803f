#include "curvature_dense.hpp"

#include <Eigen/Cholesky>
#include <utility>

#include "lu_solver.hpp"

namespace grokflow {
namespace {

/// Cholesky, so that negative curvature that an implicit step would step over is seen: z H > -I, or a smaller z.
class CholeskySolver final : public ShiftedSolver<double> {
 public:
  CholeskySolver(Index size, Stats& stats) : matrix_(size, size), llt_(size), stats_(stats) {}

  bool factor(const Matrix& jacobian, double z) {
    ++stats_.nfactor;
    matrix_ = -z * jacobian;
    matrix_.diagonal().array() += 1.0;
    if (!matrix_.allFinite()) return false;
    llt_.compute(matrix_);
    return llt_.info() == Eigen::Success;
  }

  bool solve(VectorRef v) override {
    ++stats_.nsolve;
    llt_.solveInPlace(v);
    return true;
  }

 private:
  Matrix matrix_;
  Eigen::LLT<Matrix> llt_;
  Stats& stats_;
};

}  // namespace

DenseCurvature::DenseCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats)
    : problem_(std::move(problem)),
      decay_(decay),
      stats_(stats),
      jacobian_(problem_->num_params(), problem_->num_params()) {}

void DenseCurvature::linearize(const ConstVectorRef& w) {
  problem_->linearize(w, lin_);
  ++stats_.nhessian;
  if (problem_->has_hessian()) {
    lin_->hessian(jacobian_);
  } else {
    const Index n = problem_->num_residuals();
    rows_.resize(problem_->num_params(), n);
    Vector unit = Vector::Zero(n);
    for (Index i = 0; i < n; ++i) {
      unit[i] = 1.0;
      lin_->vjp(unit, rows_.col(i));
      unit[i] = 0.0;
    }
    stats_.nvjp += n;
    jacobian_.noalias() = problem_->scale() * rows_ * rows_.transpose();
  }
  jacobian_ = -jacobian_;
  for (const Decay::Group& group : decay_.groups())
    for (const Decay::Range& range : group.ranges)
      jacobian_.diagonal().segment(range.begin, range.end - range.begin).array() -= group.rate;
}

bool DenseCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  if (!solver) solver = std::make_unique<CholeskySolver>(jacobian_.rows(), stats_);
  return static_cast<CholeskySolver&>(*solver).factor(jacobian_, z);
}

bool DenseCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  if (!solver) solver = std::make_unique<LuSolver<Complex>>(jacobian_.rows(), stats_);
  return static_cast<LuSolver<Complex>&>(*solver).factor(jacobian_, z);
}

}  // namespace grokflow
