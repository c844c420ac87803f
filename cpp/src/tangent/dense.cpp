#include "tangent/dense.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "curvature/full_hessian.hpp"
#include "linearized.hpp"
#include "numerics/products.hpp"

namespace grokflow {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kBeside = 10.0;    // times ||grad F|| / ||w||: an eigenvalue that may be 0 on M
constexpr double kFarthest = 1e-7;  // times the largest: beyond, w is not beside M

}  // namespace

DenseTangent::DenseTangent(std::shared_ptr<const Problem> problem, const TangentOptions& options,
                           Stats& stats)
    : problem_(std::move(problem)),
      stats_(stats),
      truncates_(options.rtol_rank > 0.0),
      rtol_rank_(truncates_ ? options.rtol_rank
                            : 10.0 * kEpsilon * static_cast<double>(problem_->num_params())),
      H_(problem_->num_params(), problem_->num_params()),
      inverse_(problem_->num_params()),
      coordinates_(problem_->num_params()),
      sizes_(problem_->num_params()) {}

bool DenseTangent::decompose(const ConstVectorRef& w) {
  linearized(*problem_, w, lin_).checkpoint = checkpoint;
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
  invert(spectrum_.rank);
  return true;
}

/// inverse = 1/eigenvalue for the `rank` largest in modulus; returns the modulus of the next, or 0.
double DenseTangent::invert(Index rank) {
  const Vector& values = eigen_.values();
  const Index zeros = values.size() - rank;
  sizes_ = values.cwiseAbs();
  std::sort(sizes_.begin(), sizes_.end());
  const double dropped = zeros > 0 ? sizes_[zeros - 1] : 0.0;
  inverse_ = (values.array().abs() > dropped).select(values.array().inverse(), 0.0);
  return dropped;
}

/// The round-off of an eigenvalue follows the entries of H that its eigenvector sees, which of a graded H may
/// all be small, down to that of the decomposition. Beside M those that are 0 on it have become small: along an
/// orbit of a symmetry of F, as of weights that are scaled up and down, as much as the gradient has.
Index DenseTangent::count_rank(const ConstVectorRef& w, double largest) {
  const Vector& values = eigen_.values();
  if (truncates_) return (values.array().abs() > rtol_rank_ * largest).count();
  problem_->gradient(w, coordinates_);
  ++stats_.nfev;
  const double digits = 10.0 * kEpsilon * std::sqrt(static_cast<double>(values.size())) * largest;
  const double beside = kBeside * coordinates_.stableNorm(), size = w.stableNorm();
  const double least = beside < kFarthest * largest * size ? std::max(digits, beside / size) : digits;
  coordinates_ = H_.diagonal().cwiseAbs();
  Index rank = 0;
  for (Index i = 0; i < values.size(); ++i) {
    const double seen = eigen_.vectors().col(i).cwiseAbs2().dot(coordinates_);
    rank += std::abs(values[i]) > std::max(least, rtol_rank_ * seen);
  }
  return rank;
}

bool DenseTangent::linearize(const ConstVectorRef& w) {
  if (!decompose(w)) return false;
  const Vector& values = eigen_.values();
  spectrum_ = {};
  spectrum_.largest = values.cwiseAbs().maxCoeff();
  spectrum_.rank = count_rank(w, spectrum_.largest);
  const double dropped = std::max(invert(spectrum_.rank), kEpsilon * spectrum_.largest);
  if (spectrum_.rank == 0) return true;
  const auto kept = inverse_.array() != 0.0;
  spectrum_.smallest = kept.select(values.array().abs(), spectrum_.largest).minCoeff();
  spectrum_.num_negative = (kept && values.array() < 0.0).count();
  spectrum_.lowest = spectrum_.num_negative > 0 ? values[0] : 0.0;
  spectrum_.gap = spectrum_.smallest / dropped;
  return true;
}

void DenseTangent::project(VectorRef v) {
  ++stats_.nproject;
  apply_transposed(eigen_.vectors(), v, coordinates_);
  coordinates_ = (inverse_.array() == 0.0).select(coordinates_, 0.0);
  apply(eigen_.vectors(), coordinates_, v);
}

void DenseTangent::normal_step(const ConstVectorRef& w, VectorRef out) {
  ++stats_.nsolve;
  problem_->gradient(w, out);
  ++stats_.nfev;
  apply_transposed(eigen_.vectors(), out, coordinates_);
  coordinates_.array() *= -inverse_.array();
  apply(eigen_.vectors(), coordinates_, out);
}

}  // namespace grokflow
