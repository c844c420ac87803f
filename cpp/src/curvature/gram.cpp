#include "curvature/gram.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "curvature/full_hessian_solver.hpp"
#include "linearized.hpp"
#include "numerics/products.hpp"
#include "numerics/shifted_factor.hpp"

namespace grokflow {
namespace {

constexpr double kGaussNewtonSuffices = 0.15;  // contraction at which the full Hessian is given up again

template <class Scalar>
class GramSolver final : public ShiftedSolver<Scalar> {
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  static constexpr bool real = std::is_same_v<Scalar, double>;

 public:
  explicit GramSolver(GramCurvature& curvature)
      : curvature_(curvature),
        factor_(curvature.problem().num_residuals()),
        in_rows_(curvature.problem().num_residuals()),
        in_params_(curvature.problem().num_params()) {
    if (!real) {
      part_params_.resize(curvature.problem().num_params());
      part_rows_.resize(curvature.problem().num_residuals());
    }
  }

  bool factor(Scalar z) {
    // Equal steps have equal shifts up to round-off.
    const bool same = curvature_.point() == point_ && std::abs(z - z_) <= 1e-12 * std::abs(z);
    if (same) return true;
    point_ = -1;
    z_ = z;
    const auto& groups = curvature_.decay().groups();
    reference_ = Scalar(1) + z * groups.front().rate;
    const Scalar shift = reference_ / (z * curvature_.problem().scale());
    const std::vector<Matrix>& kernels = curvature_.kernels();
    std::int64_t& nfactor = curvature_.stats().nfactor;
    if (kernels.size() == 1) return factor_.prepare(kernels.front(), shift, curvature_.point(), nfactor);
    sum_ = kernels.front().cast<Scalar>();
    for (std::size_t g = 1; g < kernels.size(); ++g)
      sum_ += (reference_ / (Scalar(1) + z * groups[g].rate)) * kernels[g].cast<Scalar>();
    add_slants();
    if (!factor_.factor(sum_, shift, nfactor)) return false;
    point_ = curvature_.point();
    return true;
  }

  bool solve(Eigen::Ref<VectorS> v) override {
    if (!curvature_.full_hessian()) {
      solve_gauss_newton(v);
      return true;
    }
    return full_hessian_.solve(
        curvature_.hessian(), curvature_.decay(), z_, v, curvature_.stats(), true,
        [this](Eigen::Ref<VectorS> u) { solve_gauss_newton(u); },
        [this](double rate) { curvature_.note_contraction(rate); });
  }

  /// With g = c r the right-hand side is -(J^T g + D w), so that J^T is applied once, and K g, which is at
  /// hand, stands for J J^T g. With the full Hessian J^T g is formed, for less than a right-hand side.
  bool solve_with_field(const ConstVectorRef& w, Eigen::Ref<VectorS> v) override {
    if constexpr (real) {
      const Vector* g = curvature_.linearization().scaled_residual();
      if (g == nullptr) return false;
      curvature_.decay().add_gradient(-z_, w, v);
      if (curvature_.full_hessian()) {
        in_rows_ = *g;
        vjp();
        v -= z_ * in_params_;
        return solve(v);
      }
      ++curvature_.stats().nsolve;
      curvature_.decay().divide(z_, v);
      jvp(v);
      const Matrix& K = curvature_.kernels().size() == 1 ? curvature_.kernels().front() : sum_;
      add_applied(K, *g, in_rows_, -z_ / reference_);
      factor_.solve(in_rows_);
      in_rows_ = reference_ * in_rows_ + z_ * *g;
      vjp();
      curvature_.decay().divide(z_, in_params_);
      v -= in_params_;
      return true;
    } else {
      return false;
    }
  }

  /// With dg = q / z the two equations become q = S^-1 (J A^-1 v + gap / c) and dw = A^-1 v - A^-1 J^T q, where
  /// S = I/(z c) + sum_g K_g / alpha_g: no product more than without forces.
  bool solve_with_forces(Eigen::Ref<VectorS> v, Eigen::Ref<VectorS> gap) override {
    const double c = curvature_.problem().scale();
    if (curvature_.full_hessian()) {
      in_rows_ = gap;
      vjp();
      v -= z_ * in_params_;
      if (!solve(v)) return false;
      jvp(v);
      gap += c * in_rows_;
      return true;
    }
    gap /= c;
    solve_gauss_newton(v, &gap);
    gap = in_rows_ / z_;
    return true;
  }

  bool exact() const override { return factor_.exact() && !curvature_.full_hessian(); }

  void state(Archive& archive) override {
    Scalar z = z_;
    archive(z);
    if (archive.reading() && z != z_) {
      point_ = -1;
      factor(z);
    }
    factor_.state(archive);
  }

 private:
  /// sum_ += the kernels of single vectors that have rates of their own.
  void add_slants() {
    const Decay::Slants& slants = curvature_.decay().slants();
    if (slants.empty()) return;
    const Matrix& C = curvature_.slanted();
    product_.resize(C.rows(), C.rows());
    const auto weighted = [&](auto&& part_of) -> const Matrix& {
      scaled_ = C;
      for (std::size_t k = 0; k < slants.size(); ++k)
        scaled_.col(static_cast<Index>(k)) *=
            part_of(reference_ / (Scalar(1) + z_ * curvature_.decay().rate(slants[k])));
      multiply_nt(scaled_, C, product_);
      return product_;
    };
    if constexpr (real) {
      sum_ += weighted([](double weight) { return weight; });
    } else {
      sum_.real() += weighted([](Scalar weight) { return weight.real(); });
      sum_.imag() += weighted([](Scalar weight) { return weight.imag(); });
    }
  }

  /// v <- A^-1 v - A^-1 J^T S^-1 (J A^-1 v + more), the system scaled by alpha of the first group;
  /// in_rows_ <- S^-1 (...).
  void solve_gauss_newton(Eigen::Ref<VectorS> v, const Eigen::Ref<VectorS>* more = nullptr) {
    ++curvature_.stats().nsolve;
    curvature_.decay().divide(z_, v);
    jvp(v);
    if (more != nullptr) in_rows_ += *more;
    factor_.solve(in_rows_);
    in_rows_ *= reference_;
    vjp();
    curvature_.decay().divide(z_, in_params_);
    v -= in_params_;
  }

  /// in_rows_ = J v
  void jvp(const Eigen::Ref<VectorS>& v) {
    const Linearization& lin = curvature_.linearization();
    if constexpr (real) {
      lin.jvp(v, in_rows_);
      ++curvature_.stats().njvp;
    } else {
      part_params_ = v.real();
      lin.jvp(part_params_, part_rows_);
      in_rows_.real() = part_rows_;
      part_params_ = v.imag();
      lin.jvp(part_params_, part_rows_);
      in_rows_.imag() = part_rows_;
      curvature_.stats().njvp += 2;
    }
  }

  /// in_params_ = J^T in_rows_
  void vjp() {
    const Linearization& lin = curvature_.linearization();
    if constexpr (real) {
      lin.vjp(in_rows_, in_params_);
      ++curvature_.stats().nvjp;
    } else {
      part_rows_ = in_rows_.real();
      lin.vjp(part_rows_, part_params_);
      in_params_.real() = part_params_;
      part_rows_ = in_rows_.imag();
      lin.vjp(part_rows_, part_params_);
      in_params_.imag() = part_params_;
      curvature_.stats().nvjp += 2;
    }
  }

  GramCurvature& curvature_;
  ShiftedFactor<Scalar, Factorisation::cholesky> factor_;
  Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> sum_;  // of the kernels, if there are several
  long point_ = -1;                                            // at which the sum has been factored, for z_
  Scalar z_{}, reference_{};
  VectorS in_rows_, in_params_;
  Vector part_params_, part_rows_;  // real or imaginary parts
  Matrix scaled_, product_;         // of slants
  FullHessianSolver<Scalar> full_hessian_;
};

template <class Scalar>
bool refactor(GramCurvature& curvature, Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
  if (!solver) solver = std::make_unique<GramSolver<Scalar>>(curvature);
  return static_cast<GramSolver<Scalar>&>(*solver).factor(z);
}

}  // namespace

GramCurvature::GramCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats)
    : problem_(std::move(problem)),
      decay_(decay),
      stats_(stats),
      hessian_(*problem_, stats_),
      kernels_(decay.groups().size(), Matrix(problem_->num_residuals(), problem_->num_residuals())) {}

void GramCurvature::linearize(const ConstVectorRef& w) {
  linearized(*problem_, w, lin_).checkpoint = checkpoint;
  hessian_.begin(w, *lin_);
  ++stats_.ngram;
  ++point_;
  if (decay_.groups().size() == 1) {
    lin_->gram(0, problem_->num_params(), kernels_.front());
  } else {
    Matrix part;
    for (std::size_t g = 0; g < kernels_.size(); ++g) {
      const auto& ranges = decay_.groups()[g].ranges;
      lin_->gram(ranges.front().begin, ranges.front().end, kernels_[g]);
      for (std::size_t i = 1; i < ranges.size(); ++i) {
        part.resize(kernels_[g].rows(), kernels_[g].cols());
        lin_->gram(ranges[i].begin, ranges[i].end, part);
        kernels_[g] += part;
      }
    }
    if (const auto& slants = decay_.slants(); !slants.empty()) {
      slanted_.resize(problem_->num_residuals(), static_cast<Index>(slants.size()));
      lin_->jvp_slants(slants, slanted_);
    }
  }
  if (full_hessian_ && contraction_ < kGaussNewtonSuffices) full_hessian_ = false;
  contraction_ = 0.0;
}

bool GramCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  return refactor(*this, z, solver);
}

bool GramCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  return refactor(*this, z, solver);
}

double GramCurvature::renewal_cost() const {
  if (problem_->cost().measured) return std::numeric_limits<double>::infinity();
  std::size_t parts = 0;
  for (const auto& group : decay_.groups()) parts += group.ranges.size();
  return kernel_cost(*problem_, static_cast<double>(parts));
}

void GramCurvature::react(const ConstVectorRef& v, VectorRef forces) {
  rows_.resize(forces.size());
  lin_->jvp(v, rows_);
  forces += problem_->scale() * rows_;
}

bool GramCurvature::sharpen() {
  if (full_hessian_) return false;
  full_hessian_ = true;
  return true;
}

}  // namespace grokflow
