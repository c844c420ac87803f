#include "grokflow/dense_flow.hpp"

#include <utility>

#include "lu_solver.hpp"

namespace grokflow {
namespace {

class LinearizedDenseFlow final : public LinearizedFlow {
 public:
  LinearizedDenseFlow(Index size, Stats& stats) : jacobian(size, size), stats_(stats) {}

  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override { return refactor(z, solver); }
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override { return refactor(z, solver); }

  Matrix jacobian;

 private:
  template <class Scalar>
  bool refactor(Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
    if (!solver) solver = std::make_unique<LuSolver<Scalar>>(jacobian.rows(), stats_);
    return static_cast<LuSolver<Scalar>&>(*solver).factor(jacobian, z);
  }

  Stats& stats_;
};

}  // namespace

DenseFlow::DenseFlow(Index size, Field field, Jacobian jacobian)
    : size_(size), field_(std::move(field)), jacobian_(std::move(jacobian)) {}

void DenseFlow::compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  if (!lin) lin = std::make_unique<LinearizedDenseFlow>(size_, stats());
  jacobian_(w, static_cast<LinearizedDenseFlow&>(*lin).jacobian);
}

}  // namespace grokflow
