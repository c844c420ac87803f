#include <utility>

#include "grokflow/modes.hpp"
#include "numerics/symmetric_cholesky.hpp"

namespace grokflow {
namespace {

constexpr int kSharpness = 4;    // power by which directions too slow to react within tau are left out
constexpr int kCorrections = 4;  // of w, with one K: the outputs are nonlinear

/// c r. A change of mode leaves w and so r where they are; then r goes to its new equilibrium at the rates c K,
/// K = J J^T. With s = 1 / (c tau), an implicit Euler step of length tau takes the force to
///
///   (K + s)^-1 (s before - J D w),
///
/// which is -K^-1 J D w, the force of the drift, where c K tau is large. Below a loss the same holds for B^+ force,
/// with B as it is at w.
class GradientForces final : public Forces {
 public:
  GradientForces(std::shared_ptr<const Piece> piece, Decay decay)
      : piece_(std::move(piece)),
        decay_(std::move(decay)),
        K_(Matrix::Identity(piece_->num_forces(), piece_->num_forces())),
        cholesky_(K_),
        rows_(piece_->num_forces()),
        params_(piece_->num_params()) {}

  void evaluate(const ConstVectorRef&, const ConstVectorRef& slopes, VectorRef out) override {
    out = piece_->scale() * slopes;
  }

  double react(const ConstVectorRef& w, const ConstVectorRef& before, double tau, VectorRef out) override {
    out = before;
    if (tau == 0.0 || !freeze(w, tau)) return 0.0;
    params_.setZero();
    decay_.add_product(1.0, w, params_);
    lin_->jvp(params_, rows_);
    before_ = before;
    piece_->to_rows(w, before_);
    out = shift_ * before_ - rows_;
    cholesky_.solve(out);
    out -= before_;
    for (int power = 1; power < kSharpness; ++power) {  // out <- K (K + s)^-1 out
      rows_ = out;
      cholesky_.solve(rows_);
      out -= shift_ * rows_;
    }
    rows_ = out / piece_->scale();
    cholesky_.solve(rows_);
    lin_->vjp(rows_, params_);
    out += before_;
    piece_->from_rows(w, out);
    return params_.stableNorm();
  }

  void restore(const ConstVectorRef& force, double tau, VectorRef w) override {
    if (tau == 0.0 || !freeze(w, tau)) return;
    for (int correction = 0; correction < kCorrections; ++correction) {
      piece_->slopes(w, rows_);
      rows_ = force / piece_->scale() - rows_;
      piece_->to_rows(w, rows_);
      cholesky_.solve(rows_);
      lin_->vjp(rows_, params_);
      w += params_;
    }
  }

 private:
  /// K + s at w; false if it is not positive definite.
  bool freeze(const ConstVectorRef& w, double tau) {
    shift_ = 1.0 / (piece_->scale() * tau);
    piece_->linearize(w, lin_);
    lin_->gram(0, piece_->num_params(), K_);
    K_.diagonal().array() += shift_;
    cholesky_.compute(K_);
    return cholesky_.regular();
  }

  std::shared_ptr<const Piece> piece_;
  Decay decay_;
  double shift_ = 0.0;
  std::unique_ptr<Linearization> lin_;
  Matrix K_;
  SymmetricCholesky<double> cholesky_;
  Vector rows_, before_, params_;
};

/// -K^-1 J grad R, in every mode at once.
class DriftForces final : public Forces {
 public:
  DriftForces(std::shared_ptr<Piece> piece, std::shared_ptr<const Regularizer> regularizer,
              const TangentOptions& options)
      : piece_(std::move(piece)), regularizer_(std::move(regularizer)), slope_(piece_->num_params()) {
    tangent_ = make_tangent_space(CurvatureKind::gram, piece_, options, stats_);
  }

  void evaluate(const ConstVectorRef& w, const ConstVectorRef&, VectorRef out) override {
    regularizer_->evaluate(w, slope_);
    tangent_->linearize(w);
    tangent_->multipliers(slope_, out);
    out = -out;
    piece_->from_rows(w, out);
  }

  double react(const ConstVectorRef& w, const ConstVectorRef& before, double, VectorRef out) override {
    evaluate(w, before, out);
    return 0.0;
  }

  void restore(const ConstVectorRef&, double, VectorRef) override {}

 private:
  Stats stats_;
  std::shared_ptr<const Piece> piece_;
  std::shared_ptr<const Regularizer> regularizer_;
  std::unique_ptr<TangentSpace> tangent_;
  Vector slope_;
};

}  // namespace

std::unique_ptr<Forces> gradient_forces(std::shared_ptr<const Piece> piece, Decay decay) {
  return std::make_unique<GradientForces>(std::move(piece), std::move(decay));
}

std::unique_ptr<Forces> drift_forces(std::shared_ptr<Piece> piece,
                                     std::shared_ptr<const Regularizer> regularizer,
                                     const TangentOptions& options) {
  return std::make_unique<DriftForces>(std::move(piece), std::move(regularizer), options);
}

}  // namespace grokflow
