#include "grokflow/output_problem.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "curvature/residual_curvature.hpp"
#include "numerics/symmetric.hpp"
#include "output_piece.hpp"

namespace grokflow {
namespace {

Index count_residuals(const Fit& train) {
  if (train.loss->num_outputs() != train.outputs->num_residuals())
    throw std::invalid_argument("the loss is of " + std::to_string(train.loss->num_outputs()) +
                                " outputs, and there are " + std::to_string(train.outputs->num_residuals()));
  return train.loss->attained() ? train.loss->num_residuals() : 0;
}

constexpr int kMostProducts = 300;
constexpr double kUnfelt = 1e-9;  // of the growth of a margin, beside the largest
constexpr double kOwn = 1e-6;     // of a gradient, that is no round-off

}  // namespace

double Fit::value(const ConstVectorRef& w) const {
  Vector f(loss->num_outputs());
  outputs->residual(w, f);
  return scale * loss->value(f);
}

OutputProblem::OutputProblem(Fit train, std::optional<Fit> test)
    : PiecewiseProblem(train.outputs->num_params(), count_residuals(train), train.scale),
      train_(std::move(train)),
      test_(std::move(test)) {
  if (test_) count_residuals(*test_);
}

bool OutputProblem::is_quadratic() const {
  return train_.loss->is_quadratic() && train_.outputs->is_quadratic();
}

std::vector<Quantity> OutputProblem::quantities() const {
  auto quantities = Problem::quantities();
  if (test_)
    quantities.push_back(
        {"test_loss", 0, [this](const ConstVectorRef& w, VectorRef out) { out[0] = test_->value(w); }});
  for (Quantity& own : train_.outputs->quantities()) {
    const auto same = [&](const Quantity& known) { return known.name == own.name; };
    if (std::none_of(quantities.begin(), quantities.end(), same)) quantities.push_back(std::move(own));
  }
  return quantities;
}

double OutputProblem::escape_loss() const {
  return train_.loss->is_certain() ? scale() * std::log(2.0) : 0.0;
}

/// That of the outputs, and B^T K B.
Cost OutputProblem::cost() const {
  const double n = static_cast<double>(train_.loss->num_outputs()), m = static_cast<double>(num_residuals());
  const Cost outputs = train_.outputs->cost();
  return {outputs.gradient, outputs.gram + 4.0 * n * (n + m), outputs.measured};
}

WorkspacePool<OutputProblem::Scratch>::Lease OutputProblem::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->f.resize(train_.loss->num_outputs());
    fresh->x.resize(train_.loss->num_outputs());
    fresh->u.resize(train_.loss->num_residuals());
    fresh->B.resize(train_.loss->factor_size());
    return fresh;
  });
}

void OutputProblem::residual(const ConstVectorRef& w, VectorRef out) const {
  auto work = scratch();
  train_.outputs->residual(w, work->f);
  train_.loss->factor(work->f, out, work->B);
}

void OutputProblem::gradient(const ConstVectorRef& w, VectorRef out) const {
  const auto force = [this](VectorRef f) {
    train_.loss->gradient(f);
    f *= scale();
  };
  train_.outputs->gradient_through(w, force, out);
}

/// A force on the faint margins, that of the flow at first, less its part in the range of J^T C, where C takes a
/// change of the outputs to what the others feel of it: least squares by conjugate gradients (CGLS). Margins that
/// shrink by what is left are pushed more, as a perceptron learns. Where the outputs are linear in w this proves that
/// there is no minimiser, for F falls along it from every w, for ever.
bool OutputProblem::faint_gradient(const ConstVectorRef& w, VectorRef out) const {
  if (attained()) return false;
  const Loss& loss = *train_.loss;
  auto work = scratch();
  train_.outputs->residual(w, work->f);
  Vector force = work->f, search, image(out.size()), change;
  if (!loss.faint_gradient(force)) return false;
  const double push = force.cwiseAbs().maxCoeff();
  std::unique_ptr<Linearization> lin;
  train_.outputs->linearize(w, lin);
  lin->vjp(force, out);
  double whole = out.norm(), last = 0.0;
  for (int i = 0; i < kMostProducts && out.norm() > kOwn * whole; ++i) {
    lin->jvp(out, work->x);
    change = work->x;
    loss.felt_by_others(work->f, work->x);
    const double felt = work->x.squaredNorm(), slack = kUnfelt * change.cwiseAbs().maxCoeff();
    if (std::sqrt(felt) <= slack) {
      if (!loss.push_faint(work->f, change, slack, push, force)) return true;
      lin->vjp(force, out);
      whole = out.norm();
      last = 0.0;
      continue;
    }
    search = last == 0.0 ? work->x : Vector(work->x + felt / last * search);
    lin->vjp(search, image);
    out -= felt / image.squaredNorm() * image;
    last = felt;
  }
  return false;
}

double OutputProblem::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  if (train_.loss->is_quadratic()) {
    auto work = scratch();
    work->f.setZero();
    train_.loss->factor(work->f, work->u, work->B);
    work->x = Vector::Unit(work->x.size(), 0);
    train_.loss->hessian(work->B, work->u, work->x);
    const double trace = train_.outputs->kernel_trace(w, gradient);
    gradient *= work->x[0];
    return work->x[0] * trace;
  }
  throw std::invalid_argument(
      "the gradient of the trace of the tangent kernel is known for the squared loss only; give a Regularizer"
      " of your own in place of 'hessian_trace'");
}

/// The linearised outputs, c g, c rho and B at one point.
class OutputProblem::At final : public Linearization {
 public:
  explicit At(const OutputProblem& problem)
      : Linearization(problem.num_params(), problem.num_residuals()), problem_(problem) {
    force_.resize(loss().num_outputs());
    rho_.resize(loss().num_residuals());
    B_.resize(loss().factor_size());
  }

  void refill(const ConstVectorRef& w) {
    auto work = problem_.scratch();
    w_ = w;
    const bool made = !lin_;
    outputs().linearize(w, lin_);
    if (made) lin_->checkpoint = [this] { check(); };
    if (const Vector* scaled = lin_->scaled_residual())
      work->f = *scaled / outputs().scale();
    else
      outputs().residual(w, work->f);
    loss().factor(work->f, rho_, B_);
    rho_ *= problem_.scale();
    force_ = work->f;
    loss().gradient(force_);
    force_ *= problem_.scale();
    fresh_ = true;
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = problem_.scratch();
    lin_->jvp(v, work->x);
    loss().apply_transposed(B_, work->x, out);
  }

  void vjp(const ConstVectorRef& u, VectorRef out) const override {
    auto work = problem_.scratch();
    loss().apply(B_, u, work->x);
    lin_->vjp(work->x, out);
  }

  /// B^T K B: B^T to the columns of the model's K, then to those of the transpose.
  void gram(Index begin, Index end, MatrixRef K) const override {
    auto work = problem_.scratch();
    if (loss().is_quadratic()) {  // S is a multiple of 1
      lin_->gram(begin, end, K);
      work->x = Vector::Unit(work->x.size(), 0);
      loss().hessian(B_, work->u, work->x);
      if (work->x[0] != 1.0) K *= work->x[0];
      return;
    }
    const Index n = loss().num_outputs(), m = loss().num_residuals();
    auto whole = work->K.matrix(n, n), half = work->half.matrix(n, m);
    lin_->gram(begin, end, whole);
    for (Index j = 0; j < n; ++j) {
      loss().apply_transposed(B_, whole.col(j), work->u);
      half.row(j) = work->u.transpose();
    }
    for (Index j = 0; j < m; ++j) loss().apply_transposed(B_, half.col(j), K.col(j));
    mirror_lower(K);
  }

  bool gradient(VectorRef out) const override {
    lin_->vjp(force_, out);
    return true;
  }

  const Vector* scaled_residual() const override { return num_residuals() > 0 ? &rho_ : nullptr; }

  bool solve(const ConstVectorRef& alpha, double beta, double tolerance, VectorRef v) const override {
    return lin_->solve(alpha, beta, tolerance, v);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = problem_.scratch();
    const auto S = [&](VectorRef x) {
      loss().hessian(B_, work->u, x);
      x *= problem_.scale();
    };
    if (outputs().has_hvp_through()) return lin_->hvp_through(force_, std::ref(S), v, out);
    lin_->jvp(v, work->x);
    S(work->x);
    lin_->vjp(work->x, out);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (fresh_) curvature_.begin(w_, *lin_, force_);
    fresh_ = false;
    curvature_.add(outputs(), v, out);
  }

 private:
  const Problem& outputs() const { return *problem_.train_.outputs; }
  const Loss& loss() const { return *problem_.train_.loss; }

  const OutputProblem& problem_;
  std::unique_ptr<Linearization> lin_;
  Vector w_, force_, rho_, B_;
  mutable std::mutex mutex_;
  mutable ResidualCurvature curvature_;
  mutable bool fresh_ = true;  // the curvature has not begun at w
};

void OutputProblem::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

std::shared_ptr<Piece> OutputProblem::make_piece(const Decay& decay, const Frozen& frozen) const {
  auto outputs = piecewise(*train_.outputs)->make_piece(decay, frozen);
  return std::make_shared<OutputPiece>(std::move(outputs), train_.loss, scale());
}

}  // namespace grokflow
