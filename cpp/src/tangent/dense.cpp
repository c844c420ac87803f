#include "tangent/dense.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "curvature/full_hessian.hpp"

namespace grokflow {

DenseTangent::DenseTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options,
                           Stats& stats)
    : problem_(std::move(problem)),
      stats_(stats),
      rtol_rank_(options.rtol_rank > 0.0 ? options.rtol_rank
                                         : 10.0 * std::numeric_limits<double>::epsilon() *
                                               static_cast<double>(problem_->num_params())),
      H_(problem_->num_params(), problem_->num_params()),
      inverse_(problem_->num_params()),
      coordinates_(problem_->num_params()),
      sizes_(problem_->num_params()) {}

bool DenseTangent::decompose(const ConstVectorRef& w) {
  problem_->linearize(w, lin_);
  ++stats_.nlinearize;
  form_hessian(*problem_, *lin_, H_, stats_);
  if (!std::isfinite(H_.sum())) return false;
  eigen_.compute(H_);
  ++stats_.nfactor;
  return true;
}

/// As many eigenvalues count as non-zero as did on M: those that are largest in modulus.
bool DenseTangent::linearize_beside(const ConstVectorRef& w) {
  if (!decompose(w)) return false;
  const Vector& values = eigen_.eigenvalues();
  const Index zeros = values.size() - spectrum_.rank;
  sizes_ = values.cwiseAbs();
  std::sort(sizes_.begin(), sizes_.end());
  const double threshold = zeros > 0 ? sizes_[zeros - 1] : 0.0;
  inverse_ = (values.array().abs() > threshold).select(values.array().inverse(), 0.0);
  return true;
}

bool DenseTangent::linearize(const ConstVectorRef& w) {
  if (!decompose(w)) return false;
  const Vector& values = eigen_.eigenvalues();
  spectrum_ = {};
  spectrum_.rank = 0;
  spectrum_.largest = values.cwiseAbs().maxCoeff();
  const double threshold = rtol_rank_ * spectrum_.largest;
  double dropped = std::numeric_limits<double>::epsilon() * spectrum_.largest;
  spectrum_.smallest = spectrum_.largest;
  for (Index i = 0; i < values.size(); ++i) {
    const double size = std::abs(values[i]);
    const bool kept = size > threshold;
    inverse_[i] = kept ? 1.0 / values[i] : 0.0;
    if (!kept) {
      dropped = std::max(dropped, size);
      continue;
    }
    ++spectrum_.rank;
    spectrum_.smallest = std::min(spectrum_.smallest, size);
    if (values[i] < 0.0) ++spectrum_.num_negative;
    spectrum_.lowest = std::min(spectrum_.lowest, values[i]);
  }
  spectrum_.gap = spectrum_.rank > 0 ? spectrum_.smallest / dropped : 0.0;
  return true;
}

void DenseTangent::project(VectorRef v) {
  ++stats_.nproject;
  coordinates_.noalias() = eigen_.eigenvectors().transpose() * v;
  coordinates_ = (inverse_.array() == 0.0).select(coordinates_, 0.0);
  v.noalias() = eigen_.eigenvectors() * coordinates_;
}

void DenseTangent::normal_step(const ConstVectorRef& w, VectorRef out) {
  ++stats_.nsolve;
  problem_->gradient(w, out);
  ++stats_.nfev;
  coordinates_.noalias() = eigen_.eigenvectors().transpose() * out;
  coordinates_.array() *= -inverse_.array();
  out.noalias() = eigen_.eigenvectors() * coordinates_;
}

}  // namespace grokflow
