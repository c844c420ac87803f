#include "curvature/krylov.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "curvature/full_hessian_solver.hpp"
#include "linearized.hpp"
#include "numerics/conjugate_gradients.hpp"

namespace grokflow {
namespace {

constexpr Index kMostWorth = 200;      // vectors of the preconditioner, if the user does not say
constexpr int kMaxIterations = 2000;   // of conjugate gradients in one solve
constexpr double kLooseForcing = 0.1;  // forcing of a solve that preconditions one with the full Hessian
constexpr double kGaussNewtonSuffices = 0.15;  // contraction at which the full Hessian is given up again
constexpr double kLeast = 0.5;  // eigenvalue of P^-1 (G + sigma I) over sigma, P being somewhat stale

/// An estimate of the squared S-norm of the error of conjugate gradients: the larger of an upper bound by the
/// Gauss-Radau rule, with a node below the eigenvalues of P^-1 S (Golub & Meurant, BIT 37, 1997; in this form
/// Meurant & Tichy, Numer. Algorithms 62, 2013), which iterations that bring nothing do not take in, and of
/// the latest falls of the error (Hestenes & Stiefel 1952; Meurant & Tichy, Numer. Algorithms 82, 2019),
/// which need no such node.
class ErrorEstimate {
 public:
  void begin(double node) {
    node_ = node;
    weight_ = 1.0 / node;
    falls_.clear();
    falls_.reserve(kMaxIterations);
  }

  /// An iteration of that length has been made, from r^T P^-1 r = `last` to `slope`.
  void advance(double length, double last, double slope) {
    const double gap = weight_ - length;  // not positive if the node was too large after all
    weight_ = gap > 0.0 ? gap / (node_ * gap + slope / last) : 1.0 / node_;
    falls_.push_back(length * last);
    const std::size_t count = falls_.size(), latest = std::min(count, 1 + count / 4);
    squared_ = std::accumulate(falls_.end() - static_cast<long>(latest), falls_.end(), 0.0);
    squared_ = std::max(squared_, weight_ * slope);
  }

  double squared() const { return squared_; }

 private:
  double node_ = 1.0, weight_ = 1.0, squared_ = 0.0;
  std::vector<double> falls_;  // one an iteration
};

template <class Scalar>
class KrylovSolver final : public ShiftedSolver<Scalar> {
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  using End = typename ConjugateGradients<Scalar>::End;
  static constexpr bool real = std::is_same_v<Scalar, double>;

 public:
  explicit KrylovSolver(KrylovCurvature& curvature)
      : curvature_(curvature),
        in_kernel_space_(curvature.in_kernel_space()),
        direction_(curvature.problem().num_params()) {
    const Index n = curvature.problem().num_residuals(), d = curvature.problem().num_params();
    cg_.resize(in_kernel_space_ ? n : d);
    rows_.resize(n);
    if (in_kernel_space_) search_.resize(d);
    if (!real) {
      part_params_.resize(d);
      part_out_.resize(d);
      part_rows_.resize(n);
    }
  }

  bool factor(Scalar z) {
    z_ = z;
    reference_ = Scalar(1) + z * curvature_.decay().groups().front().rate;
    shift_ = reference_ / (in_kernel_space_ ? z * curvature_.problem().scale() : z);
    if constexpr (real)
      if (curvature_.problem().solves()) set_alpha();
    return true;
  }

  bool exact() const override {
    return !curvature_.problem().is_quadratic() && !(in_kernel_space_ && curvature_.full_hessian());
  }
  void state(Archive& archive) override { archive(length_, slope_); }

  bool solve(Eigen::Ref<VectorS> v) override {
    if constexpr (real) {
      if (curvature_.problem().solves()) {
        ++curvature_.stats().nsolve;
        return curvature_.linearization().solve(alpha_, z_, curvature_.forcing(), v);
      }
    }
    if (!in_kernel_space_ || !curvature_.full_hessian()) return solve_once(v, curvature_.forcing());
    return full_hessian_.solve(
        curvature_.hessian(), curvature_.decay(), z_, v, curvature_.stats(), false,
        [this](Eigen::Ref<VectorS> u) { solve_once(u, kLooseForcing); },
        [this](double rate) { curvature_.note_contraction(rate); });
  }

  bool solve_with_field(const ConstVectorRef& w, Eigen::Ref<VectorS> v) override {
    if constexpr (real) {
      if (!curvature_.linearization().gradient(direction_)) return false;
      ++curvature_.stats().nvjp;
      curvature_.decay().add_gradient(1.0, w, direction_);
      v -= z_ * direction_;
      return solve(v);
    } else {
      return false;
    }
  }

 private:
  struct System {
    KrylovSolver& self;
    Eigen::Ref<VectorS>& x;

    void precondition(const VectorS& residual, VectorS& step) {
      if constexpr (real)
        if (AgedKernel* kernel = self.curvature_.kernel()) return kernel->precondition(residual, step);
      self.curvature_.spectrum().precondition(self.shift_, residual, step);
    }
    bool done(const VectorS&, Scalar slope) { return self.done(std::abs(slope), x.norm()); }
    void apply(const VectorS& step, VectorS& image) { self.apply(step, image); }
    void advance(Scalar beta, Scalar length, Scalar slope, const VectorS& search) {
      self.length_ = std::abs(length);
      self.slope_ = std::abs(slope);
      if (self.in_kernel_space_) {
        self.search_ = self.direction_ + beta * self.search_;
        x -= length * self.search_;
      } else {
        x += length * search;
      }
    }
  };

  /// I + z D, for a problem that solves for itself.
  void set_alpha() {
    const Decay& decay = curvature_.decay();
    if (decay.groups().size() == 1) {
      alpha_.setConstant(1, reference_);
    } else {
      alpha_.setOnes(curvature_.problem().num_params());
      decay.add_product(z_, Vector::Ones(alpha_.size()), alpha_);
    }
  }

  bool solve_once(Eigen::Ref<VectorS> v, double forcing) {
    forcing_ = forcing;
    ++curvature_.stats().nsolve;
    const Decay& decay = curvature_.decay();
    if (in_kernel_space_) {
      decay.divide(z_, v);
      jvp(v, cg_.residual());
      cg_.residual() *= reference_;
      search_.setZero();
    } else {
      decay.divide_by_root(z_, v);
      cg_.residual() = shift_ * v;
      v.setZero();
    }
    const End end = iterate(v);
    if (!in_kernel_space_) decay.divide_by_root(z_, v);
    // At the limit the solution goes as far as it went; Newton's method judges it.
    return end != End::indefinite;
  }

  /// Conjugate gradients, begun anew with a better preconditioner once they have filled the room for what
  /// they tell of the spectrum.
  End iterate(Eigen::Ref<VectorS>& x) {
    if constexpr (real)
      if (curvature_.kernel()) return iterate_by_kernel(x, *curvature_.kernel());
    RecycledSpectrum& spectrum = curvature_.spectrum();
    End end = End::limit;
    for (Index left = kMaxIterations, most; left > 0 && end == End::limit; left -= most) {
      most = real ? std::min(left, spectrum.room()) : left;
      if (!in_kernel_space_) estimate_.begin(kLeast * std::abs(shift_));
      end = cg_.solve(System{*this, x}, static_cast<int>(most));
      if (real) spectrum.absorb();
    }
    return end;
  }

  /// The same, with a kernel that is formed anew as soon as it is worn out.
  End iterate_by_kernel(Eigen::Ref<VectorS>& x, AgedKernel& kernel) {
    End end = End::limit;
    for (int left = kMaxIterations, most; left > 0 && end == End::limit; left -= most) {
      curvature_.prepare_kernel(z_, shift_);
      most = std::min(left, kernel.room());
      const std::int64_t before = curvature_.stats().niter;
      end = cg_.solve(System{*this, x}, most);
      kernel.wear(curvature_.stats().niter - before);
    }
    return end;
  }

  /// Whether the error of x is below the forcing term times ||x||. In kernel space that of u is S^-1 r, with
  /// r the residual, and the error of x at most
  ///
  ///   max_g sqrt(g) / |g + sigma| ||r|| / |reference|^1/2
  ///       = ||r|| / sqrt(2 (|sigma| + Re sigma) |reference|),
  ///
  /// and at most (r^T S^-1 r / |reference|)^1/2, of which a kernel tells.
  /// In parameter space the like bound is too wide, and S may have eigenvalues below sigma.
  bool done(double slope, double size) {
    double error = 0.0;
    if (in_kernel_space_) {
      const double sigma = std::abs(shift_) + std::real(shift_);
      error = cg_.residual().norm() / std::sqrt(2.0 * sigma * std::abs(reference_));
      if (curvature_.kernel())
        error = std::min(error, std::sqrt(AgedKernel::bound(slope) / std::abs(reference_)));
    } else {
      estimate_.advance(length_, slope_, slope);
      error = std::sqrt(estimate_.squared() / std::abs(shift_));
    }
    return !(error > forcing_ * size);
  }

  /// image = (G + shift I) step
  void apply(const VectorS& step, VectorS& image) {
    curvature_.linearization().check();
    ++curvature_.stats().niter;
    if (in_kernel_space_) {  // G = (1 + z lam) J A^-1 J^T
      vjp(step, direction_);
      curvature_.decay().divide(z_, direction_);
      jvp(direction_, image);
    } else {  // G = (1 + z lam) A^-1/2 H A^-1/2
      direction_ = step;
      curvature_.decay().divide_by_root(z_, direction_);
      hessian(direction_, image);
      curvature_.decay().divide_by_root(z_, image);
    }
    image *= reference_;
    if constexpr (real)
      if (!curvature_.kernel()) curvature_.spectrum().note(step, image);
    image += shift_ * step;
  }

  void hessian(const VectorS& v, VectorS& out) {
    if (curvature_.full_hessian()) {
      std::int64_t counted = 0;  // by the product itself
      by_parts(v, out, part_params_, part_out_, counted,
               [this](const auto& in, auto& image) { curvature_.hessian().apply(in, image); });
    } else {
      jvp(v, rows_);
      rows_ *= curvature_.problem().scale();
      vjp(rows_, out);
    }
  }

  void jvp(const Eigen::Ref<const VectorS>& v, VectorS& out) {
    by_parts(v, out, part_params_, part_rows_, curvature_.stats().njvp,
             [this](const auto& in, auto& image) { curvature_.linearization().jvp(in, image); });
  }

  void vjp(const VectorS& u, VectorS& out) {
    by_parts(u, out, part_rows_, part_params_, curvature_.stats().nvjp,
             [this](const auto& in, auto& image) { curvature_.linearization().vjp(in, image); });
  }

  /// A real product of a vector, of its real and its imaginary part if it is complex.
  template <class In, class Product>
  static void by_parts(const In& in, VectorS& out, Vector& part_in, Vector& part_out, std::int64_t& count,
                       Product&& product) {
    if constexpr (real) {
      product(in, out);
      ++count;
    } else {
      part_in = in.real();
      product(part_in, part_out);
      out.real() = part_out;
      part_in = in.imag();
      product(part_in, part_out);
      out.imag() = part_out;
      count += 2;
    }
  }

  KrylovCurvature& curvature_;
  const bool in_kernel_space_;
  ConjugateGradients<Scalar> cg_;
  FullHessianSolver<Scalar> full_hessian_;
  Scalar z_{}, reference_{}, shift_{};
  Vector alpha_;
  double forcing_ = 0.0;
  VectorS direction_, search_;  // in parameter space
  VectorS rows_;
  Vector part_params_, part_out_, part_rows_;  // real or imaginary parts
  ErrorEstimate estimate_;                     // of the unknowns in parameter space
  double length_ = 0.0, slope_ = 0.0;          // of the last iteration
};

template <class Scalar>
bool refactor(KrylovCurvature& curvature, Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
  if (!solver) solver = std::make_unique<KrylovSolver<Scalar>>(curvature);
  return static_cast<KrylovSolver<Scalar>&>(*solver).factor(z);
}

/// The smaller of the two spaces.
bool prefers_kernel_space(const Problem& problem) {
  return problem.has_residuals() && problem.num_residuals() <= problem.num_params();
}

Index unknowns(const Problem& problem) {
  return prefers_kernel_space(problem) ? problem.num_residuals() : problem.num_params();
}

}  // namespace

Index krylov_rank(const Problem& problem, const CurvatureOptions& options) {
  const double product = (prefers_kernel_space(problem) ? 1.0 : 2.0) * problem.cost().gradient;
  const Index size = unknowns(problem);
  const Index wanted =
      options.rank > 0 ? options.rank : std::min(kMostWorth, RecycledSpectrum::rank_worth(product, size));
  return std::min({wanted, size, RecycledSpectrum::rank_within(options.memory_budget, size)});
}

KrylovCurvature::KrylovCurvature(std::shared_ptr<const Problem> problem, const Decay& decay, Stats& stats,
                                 const CurvatureOptions& options)
    : problem_(std::move(problem)),
      decay_(decay),
      stats_(stats),
      forcing_(options.forcing),
      hessian_(*problem_, stats_),
      in_kernel_space_(prefers_kernel_space(*problem_)),
      spectrum_(unknowns(*problem_), krylov_rank(*problem_, options)),
      full_hessian_(problem_->has_hvp() && !in_kernel_space_) {}

/// What was noted at the last point stays: steps are small, and each notes less than is worth a merge.
void KrylovCurvature::linearize(const ConstVectorRef& w) {
  linearized(*problem_, w, lin_).checkpoint = checkpoint;
  if (kernel_) w_ = w;
  hessian_.begin(w, *lin_);
  if (in_kernel_space_ && full_hessian_ && contraction_ < kGaussNewtonSuffices) full_hessian_ = false;
  contraction_ = 0.0;
}

bool KrylovCurvature::factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) {
  return refactor(*this, z, solver);
}

bool KrylovCurvature::factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) {
  return refactor(*this, z, solver);
}

bool KrylovCurvature::sharpen() {
  if (full_hessian_) return false;
  full_hessian_ = true;
  return true;
}

}  // namespace grokflow
