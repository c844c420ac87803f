#include "curvature/adaptive.hpp"

#include <algorithm>
#include <utility>

namespace grokflow {
namespace {

constexpr double kIteration = 1.5;  // gradients: a pair of products, and half as much beside them
constexpr double kServes = 16.0;    // solves that a kernel is taken to serve before one has

template <class Scalar>
class AdaptiveSolver final : public ShiftedSolver<Scalar> {
  using Solver = ShiftedSolver<Scalar>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  bool factor(Curvature& curvature, bool by_kernel, Scalar z) {
    by_kernel_ = by_kernel;
    return curvature.factor(z, current());
  }

  bool solve(Eigen::Ref<VectorS> v) override { return current()->solve(v); }
  bool solve_with_field(const ConstVectorRef& w, Eigen::Ref<VectorS> v) override {
    return current()->solve_with_field(w, v);
  }
  bool exact() const override { return solvers_[by_kernel_]->exact(); }
  void state(Archive& archive) override { current()->state(archive); }

 private:
  std::unique_ptr<Solver>& current() { return solvers_[by_kernel_]; }

  std::unique_ptr<Solver> solvers_[2];
  bool by_kernel_ = false;
};

template <class Scalar>
bool refactor(Curvature& curvature, bool by_kernel, Scalar z,
              std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
  if (!solver) solver = std::make_unique<AdaptiveSolver<Scalar>>();
  return static_cast<AdaptiveSolver<Scalar>&>(*solver).factor(curvature, by_kernel, z);
}

}  // namespace

AdaptiveCurvature::AdaptiveCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats,
                                     const CurvatureOptions& options)
    : stats_(stats),
      krylov_(problem, decay, stats, options),
      gram_(problem, decay, stats),
      kernel_(gram_.renewal_cost()),
      other_(kernel_ / kServes) {}

void AdaptiveCurvature::linearize(const ConstVectorRef& w) {
  weigh();
  freeze(w);
}

void AdaptiveCurvature::weigh() {
  const auto solves = stats_.nsolve - nsolve_;
  const double price = by_kernel_ ? kernel_ : kIteration * static_cast<double>(stats_.niter - niter_);
  if (solves > 0) {
    regret_ += price - static_cast<double>(solves) * other_;
    spent_ += price;
    solves_ += solves;
    if (regret_ > kernel_) {
      by_kernel_ = !by_kernel_;
      other_ = spent_ / static_cast<double>(solves_);
    }
    if (!(regret_ > 0.0 && regret_ <= kernel_)) regret_ = spent_ = 0.0, solves_ = 0;
  }
  nsolve_ = stats_.nsolve;
  niter_ = stats_.niter;
}

void AdaptiveCurvature::freeze(const ConstVectorRef& w) {
  w_ = w;
  current().checkpoint = checkpoint;
  current().linearize(w);
}

bool AdaptiveCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  return refactor(current(), by_kernel_, z, solver);
}

bool AdaptiveCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  return refactor(current(), by_kernel_, z, solver);
}

void AdaptiveCurvature::state(Archive& archive) {
  const bool before = by_kernel_;
  archive(by_kernel_, other_, regret_, spent_, solves_, nsolve_, niter_);
  if (by_kernel_ != before) freeze(w_);
  krylov_.state(archive);
  gram_.state(archive);
}

}  // namespace grokflow
