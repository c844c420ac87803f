// The curvature that "auto" takes where K fits into memory and is dear.
#pragma once

#include "curvature/aged_kernel.hpp"
#include "curvature/gram.hpp"
#include "curvature/krylov.hpp"

namespace grokflow {

/// `krylov` while that is cheaper than kernels, and the other way round: which of the two it is depends on how many
/// iterations a solve takes and on how many solves a kernel serves, and so on the shift, that is on time and decay.
/// At each new point it is known what the last one has cost, and what it would have at the other's latest price of a
/// solve. Once the difference has grown to the price of a kernel, the other takes over. A kernel serves the solves of
/// many points (aged_kernel.hpp); where there are tens of them at one point, as in Radau's method, it is `gram`.
class AdaptiveCurvature final : public Curvature {
 public:
  AdaptiveCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats,
                    const CurvatureOptions& options);

  void linearize(const ConstVectorRef& w) override;
  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override;
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override;
  bool sharpen() override { return current().sharpen(); }
  double renewal_cost() const override { return current().renewal_cost(); }
  void state(Archive& archive) override;

 private:
  bool by_gram() const { return by_kernel_ && at_once_; }
  Curvature& current() { return by_gram() ? static_cast<Curvature&>(gram_) : krylov_; }
  const Curvature& current() const { return by_gram() ? static_cast<const Curvature&>(gram_) : krylov_; }
  void weigh();
  void freeze(const ConstVectorRef& w);

  Stats& stats_;
  KrylovCurvature krylov_;
  GramCurvature gram_;
  AgedKernel kernel_;
  bool by_kernel_ = false;  // at the current point
  bool at_once_ = false;    // solves of one point are worth a kernel of their own
  double other_;            // price of a solve by the other; all prices are in gradients
  double regret_ = 0.0;     // by how much it would have been cheaper
  double spent_ = 0.0;      // in the time in which the regret has grown, and
  std::int64_t solves_ = 0;
  std::int64_t nsolve_ = 0, niter_ = 0;  // of the statistics, at the current point
  Vector w_;                             // which that is
};

}  // namespace grokflow
