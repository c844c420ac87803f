// The curvature that "auto" takes where K fits into memory and is dear.
#pragma once

#include "curvature/gram.hpp"
#include "curvature/krylov.hpp"

namespace grokflow {

/// `krylov` while that is cheaper than `gram`, and the other way round: which of the two it is depends on how many
/// iterations a solve takes and on how many solves a kernel serves, and so on the shift, that is on time and decay.
/// At each new point it is known what the last one has cost, and what it would have at the other's latest price of a
/// solve. Once the difference has grown to the price of a kernel, the other takes over.
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
  Curvature& current() { return by_kernel_ ? static_cast<Curvature&>(gram_) : krylov_; }
  const Curvature& current() const { return by_kernel_ ? static_cast<const Curvature&>(gram_) : krylov_; }
  void weigh();
  void freeze(const ConstVectorRef& w);

  Stats& stats_;
  KrylovCurvature krylov_;
  GramCurvature gram_;
  const double kernel_;     // price of a kernel with its factor; all prices are in gradients
  bool by_kernel_ = false;  // at the current point: `gram`
  double other_;            // price of a solve by the other
  double regret_ = 0.0;     // by how much it would have been cheaper
  double spent_ = 0.0;      // in the time in which the regret has grown, and
  std::int64_t solves_ = 0;
  std::int64_t nsolve_ = 0, niter_ = 0;  // of the statistics, at the current point
  Vector w_;                             // which that is
};

}  // namespace grokflow
