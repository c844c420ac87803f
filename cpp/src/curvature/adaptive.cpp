#include "curvature/adaptive.hpp"

#include <algorithm>
#include <utility>

namespace grokflow {
namespace {

constexpr double kIteration = 1.5;  // gradients: a pair of products, and half as much beside them
constexpr double kAged = 2.5;       // iterations of a solve by a kernel of an earlier point, on the average
constexpr double kServes = 16.0;    // solves that a kernel is taken to serve before one has

template <class Scalar>
class AdaptiveSolver final : public ShiftedSolver<Scalar> {
  using Solver = ShiftedSolver<Scalar>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  bool factor(Curvature& curvature, bool by_gram, Scalar z) {
    by_gram_ = by_gram;
    return curvature.factor(z, current());
  }

  bool solve(Eigen::Ref<VectorS> v) override { return current()->solve(v); }
  bool solve_with_field(const ConstVectorRef& w, Eigen::Ref<VectorS> v) override {
    return current()->solve_with_field(w, v);
  }
  bool exact() const override { return solvers_[by_gram_]->exact(); }
  void state(Archive& archive) override { current()->state(archive); }

 private:
  std::unique_ptr<Solver>& current() { return solvers_[by_gram_]; }

  std::unique_ptr<Solver> solvers_[2];
  bool by_gram_ = false;
};

template <class Scalar>
bool refactor(Curvature& curvature, bool by_gram, Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
  if (!solver) solver = std::make_unique<AdaptiveSolver<Scalar>>();
  return static_cast<AdaptiveSolver<Scalar>&>(*solver).factor(curvature, by_gram, z);
}

}  // namespace

AdaptiveCurvature::AdaptiveCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats,
                                     const CurvatureOptions& options)
    : stats_(stats),
      krylov_(problem, decay, stats, options),
      gram_(problem, decay, stats),
      kernel_(*problem, decay, stats),
      other_(kernel_.price() / kServes) {}

void AdaptiveCurvature::linearize(const ConstVectorRef& w) {
  weigh();
  freeze(w);
}

void AdaptiveCurvature::weigh() {
  const auto solves = stats_.nsolve - nsolve_;
  const double iterations = static_cast<double>(stats_.niter - niter_);
  const double price = by_gram()    ? kernel_.price()
                       : by_kernel_ ? kernel_.price(static_cast<double>(solves), iterations)
                                    : kIteration * iterations;
  if (solves > 0) {
    at_once_ =
        kernel_.price(static_cast<double>(solves), kAged * static_cast<double>(solves)) > kernel_.price();
    regret_ += price - static_cast<double>(solves) * other_;
    spent_ += price;
    solves_ += solves;
    if (regret_ > kernel_.price()) {
      by_kernel_ = !by_kernel_;
      other_ = spent_ / static_cast<double>(solves_);
    }
    if (!(regret_ > 0.0 && regret_ <= kernel_.price())) regret_ = spent_ = 0.0, solves_ = 0;
  }
  nsolve_ = stats_.nsolve;
  niter_ = stats_.niter;
}

void AdaptiveCurvature::freeze(const ConstVectorRef& w) {
  w_ = w;
  krylov_.set_kernel(by_kernel_ ? &kernel_ : nullptr);
  current().checkpoint = checkpoint;
  current().linearize(w);
}

bool AdaptiveCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  return refactor(current(), by_gram(), z, solver);
}

bool AdaptiveCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  return refactor(current(), by_gram(), z, solver);
}

void AdaptiveCurvature::state(Archive& archive) {
  archive(by_kernel_, at_once_, other_, regret_, spent_, solves_, nsolve_, niter_);
  if (archive.reading() && by_kernel_) freeze(w_);
  krylov_.state(archive);
  gram_.state(archive);
  kernel_.state(archive);
}

}  // namespace grokflow
