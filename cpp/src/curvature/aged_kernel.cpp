#include "curvature/aged_kernel.hpp"

#include <algorithm>
#include <cmath>

#include "linearized.hpp"
#include "numerics/products.hpp"

namespace grokflow {
namespace {

constexpr double kRate = 0.7;  // of kernel_cost: large products run faster than the passes it is measured by
constexpr double kFar = 2.0;   // ratio of two shifts that ask for two factors

}  // namespace

AgedKernel::AgedKernel(const Problem& problem, const Decay& decay, Stats& stats)
    : problem_(problem), decay_(decay), stats_(stats) {
  std::size_t parts = 0;
  for (const auto& group : decay.groups()) parts += group.ranges.size();
  const double n = static_cast<double>(problem.num_residuals());
  price_ = kRate * kernel_cost(problem, static_cast<double>(parts));
  iteration_ = 1.0 + apply_cost(n * n) / problem.cost().gradient;
}

void AgedKernel::prepare(const ConstVectorRef& w, const Linearization& lin, double z, double sigma) {
  if (!formed_ || worn_ >= price_) {
    w_ = w;
    z_ = z;
    worn_ = 0.0;
    form(lin);
    ++stats_.ngram;
    factor(sigma);
  } else if (std::max(sigma / sigma_, sigma_ / sigma) > kFar) {
    factor(sigma);
  }
}

/// The sum over the groups of the decay, each with its weight.
void AgedKernel::form(const Linearization& lin) {
  const auto& groups = decay_.groups();
  const Index n = problem_.num_residuals();
  formed_ = true;
  K_.resize(n, n);
  if (groups.size() == 1) return lin.gram(0, problem_.num_params(), K_);
  part_.resize(n, n);
  K_.setZero();
  for (const auto& group : groups)
    for (const auto& range : group.ranges) {
      lin.gram(range.begin, range.end, part_);
      K_ += (1.0 + z_ * groups.front().rate) / (1.0 + z_ * group.rate) * part_;
    }
}

void AgedKernel::factor(double sigma) {
  if (!factor_) factor_ = std::make_unique<ShiftedFactor<double, Factorisation::cholesky>>(K_.rows());
  sigma_ = sigma;
  regular_ = factor_->factor(K_, sigma, stats_.nfactor);
}

void AgedKernel::state(Archive& archive) {
  bool formed = formed_;
  archive(formed, worn_);
  if (!formed) return;
  if (archive.reading()) w_.resize(problem_.num_params());
  archive(w_, z_, sigma_);
  if (!archive.reading()) return;
  std::unique_ptr<Linearization> lin;
  form(linearized(problem_, w_, lin));
  const std::int64_t counted = stats_.nfactor;
  factor(sigma_);
  stats_.nfactor = counted;
}

}  // namespace grokflow
