#include "grokflow/penalised.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "linearized.hpp"

namespace grokflow {
namespace {

/// <slope, w>, with the slope of the present mode.
class Tilted final : public Regularizer {
 public:
  explicit Tilted(std::shared_ptr<const Vector> slope) : slope_(std::move(slope)) {}
  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override {
    gradient = *slope_;
    return slope_->dot(w);
  }

 private:
  std::shared_ptr<const Vector> slope_;
};

}  // namespace

PenalisedProblem::PenalisedProblem(std::shared_ptr<const Problem> problem,
                                   std::shared_ptr<const Regularizer> regularizer, double lam)
    : Problem(problem->num_params(), 0, problem->scale()),
      problem_(std::move(problem)),
      regularizer_(std::move(regularizer)),
      lam_(lam) {}

std::shared_ptr<PenalisedProblem> PenalisedProblem::copy() const {
  return std::make_shared<PenalisedProblem>(problem_, regularizer_, lam_);
}

double PenalisedProblem::loss(const ConstVectorRef& w) const {
  const auto slope = slopes_.borrow([&] { return std::make_unique<Vector>(num_params()); });
  return problem_->loss(w) + lam() * regularizer_->evaluate(w, *slope);
}

void PenalisedProblem::gradient(const ConstVectorRef& w, VectorRef out) const {
  const auto slope = slopes_.borrow([&] { return std::make_unique<Vector>(num_params()); });
  regularizer_->evaluate(w, *slope);
  problem_->gradient(w, out);
  out += lam() * *slope;
}

/// F frozen at w, and Hess R by central differences there.
class PenalisedProblem::At final : public Linearization {
 public:
  explicit At(const PenalisedProblem& problem) : Linearization(problem.num_params(), 0), problem_(problem) {}

  void refill(const ConstVectorRef& w) {
    w_ = w;
    lam_ = problem_.lam();
    linearized(*problem_.problem_, w, lin_).checkpoint = [this] { check(); };
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    lin_->hvp(v, out);
    const double size = v.stableNorm();
    if (!(size > 0.0)) return;
    const double step = std::cbrt(std::numeric_limits<double>::epsilon()) * (1.0 + w_.stableNorm()) / size;
    const double factor = lam_ / (2.0 * step);
    slope_.resize(w_.size());
    for (const double side : {1.0, -1.0}) {
      beside_ = w_ + (side * step) * v;
      problem_.regularizer_->evaluate(beside_, slope_);
      out += (side * factor) * slope_;
    }
  }

 private:
  const PenalisedProblem& problem_;
  Vector w_;
  double lam_ = 0.0;
  std::unique_ptr<Linearization> lin_;
  mutable Vector beside_, slope_;
};

void PenalisedProblem::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

L1Norm::L1Norm(Vector weights) : weights_(std::move(weights)) {
  for (const double weight : weights_)
    if (!(weight >= 0.0) || std::isinf(weight))
      throw std::invalid_argument("the weights of an l1 norm must be finite and not negative");
}

double L1Norm::evaluate(const ConstVectorRef& w, VectorRef gradient) const {
  gradient = weights_.array() * w.array().sign();
  return gradient.dot(w);
}

L1Problem::L1Problem(std::shared_ptr<const Problem> problem, L1Norm norm)
    : PiecewiseProblem(problem->num_params(), problem->num_residuals(), problem->scale()),
      problem_(std::move(problem)),
      norm_(std::move(norm)) {
  if (norm_.weights().size() != num_params())
    throw std::invalid_argument("an l1 norm needs a weight for each parameter");
}

std::shared_ptr<const Problem> penalised(std::shared_ptr<const Problem> problem,
                                         std::shared_ptr<const Regularizer> regularizer, double lam) {
  if (piecewise(*problem))
    throw std::invalid_argument(
        "the activation of this network has a kink: its flow takes the norm, or rates by block, and no other "
        "regularizer; take activation='smooth_relu' for that");
  if (const auto* norm = dynamic_cast<const L1Norm*>(regularizer.get()))
    return std::make_shared<L1Problem>(std::move(problem), L1Norm(lam * norm->weights()));
  return std::make_shared<PenalisedProblem>(std::move(problem), std::move(regularizer), lam);
}

std::shared_ptr<const Regularizer> on_piece(std::shared_ptr<const Regularizer> regularizer,
                                            const Piece& piece) {
  if (!dynamic_cast<const L1Norm*>(regularizer.get())) return regularizer;
  return std::make_shared<Tilted>(piece.tilt());
}

}  // namespace grokflow
