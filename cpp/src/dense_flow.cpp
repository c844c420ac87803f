#include "grokflow/dense_flow.hpp"

#include <utility>

#include "curvature/dense_solver.hpp"

namespace grokflow {
namespace {

class LinearizedDenseFlow final : public LinearizedFlow {
  template <class Scalar>
  using Solver = DenseSolver<Scalar, Factorisation::lu>;

 public:
  LinearizedDenseFlow(Index size, Stats& stats) : minus_jacobian_(size, size), stats_(stats) {}

  void refill(const DenseFlow::Jacobian& jacobian, double t, const ConstVectorRef& w) {
    jacobian(t, w, minus_jacobian_);
    minus_jacobian_ = -minus_jacobian_;
    ++version_;
  }

  void state(Archive& archive) override { archive(version_); }

  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override {
    return refactor(z, solver);
  }
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override {
    return refactor(z, solver);
  }

 private:
  template <class Scalar>
  bool refactor(Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
    if (!solver) solver = std::make_unique<Solver<Scalar>>(minus_jacobian_.rows(), stats_);
    return static_cast<Solver<Scalar>&>(*solver).factor(minus_jacobian_, z, version_);
  }

  Matrix minus_jacobian_;
  long version_ = 0;
  Stats& stats_;
};

}  // namespace

DenseFlow::DenseFlow(Index size, Field field, Jacobian jacobian)
    : size_(size), field_(std::move(field)), jacobian_(std::move(jacobian)) {}

void DenseFlow::compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  if (!lin) lin = std::make_unique<LinearizedDenseFlow>(size_, stats());
  static_cast<LinearizedDenseFlow&>(*lin).refill(jacobian_, time(), w);
}

}  // namespace grokflow
