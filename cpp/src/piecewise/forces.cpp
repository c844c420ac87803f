#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "grokflow/modes.hpp"
#include "numerics/symmetric_cholesky.hpp"

namespace grokflow {
namespace {

constexpr int kSharpness = 4;        // power by which directions too slow to react within tau are left out
constexpr int kCorrections = 4;      // of w, with one K: the outputs are nonlinear
constexpr double kCorrected = 1e-6;  // the last, relative to the largest

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
        decay_(piece_->felt(std::move(decay))),
        shifted_(piece_->forces_react() ? Matrix::Identity(piece_->num_rows(), piece_->num_rows())
                                        : Matrix()),
        cholesky_(shifted_),
        rows_(piece_->num_rows()),
        before_(piece_->num_rows()),
        change_(piece_->num_rows()),
        gap_(piece_->num_forces()),
        params_(piece_->num_params()) {}

  void evaluate(const ConstVectorRef& w, VectorRef out) override {
    piece_->slopes(w, out);
    out *= piece_->scale();
  }

  double react(const ConstVectorRef& w, const ConstVectorRef& before, double tau, VectorRef out) override {
    out = before;
    if (tau == 0.0 || !piece_->forces_react() || !freeze(w, tau)) return 0.0;
    params_.setZero();
    decay_.add_gradient(piece_->decay_factor(), w, params_);
    at_->lin->jvp(params_, rows_);
    piece_->to_rows(w, before, before_);
    change_ = shift_ * before_ - rows_;
    cholesky_.solve(change_);
    change_ -= before_;
    for (int power = 1; power < kSharpness; ++power) {  // change <- K (K + s)^-1 change
      rows_ = change_;
      cholesky_.solve(rows_);
      change_ -= shift_ * rows_;
    }
    // w moves by J^T q
    rows_ = change_ / piece_->scale();
    cholesky_.solve(rows_);
    const double moved = std::sqrt(std::max(0.0, rows_.dot(at_->K * rows_)));
    change_ += before_;
    piece_->from_rows(w, change_, out);
    return moved;
  }

  void restore(const ConstVectorRef& force, double tau, VectorRef w) override {
    if (tau == 0.0 || !piece_->forces_react() || !freeze(w, tau)) return;
    double most = 0.0;
    for (int correction = 0; correction < kCorrections; ++correction) {
      piece_->slopes(w, gap_);
      gap_ = force / piece_->scale() - gap_;
      piece_->to_rows(w, gap_, rows_);
      cholesky_.solve(rows_);
      at_->lin->vjp(rows_, params_);
      w += params_;
      const double size = params_.stableNorm();
      most = std::max(most, size);
      if (size <= kCorrected * most) return;
    }
  }

 private:
  /// J and K at one point in one mode.
  struct Frozen {
    Mode mode;
    Vector w;
    std::unique_ptr<Linearization> lin;
    Matrix K;
  };

  /// K + s at w; false if it is not positive definite. A change of mode looks at two modes, and back at the first.
  bool freeze(const ConstVectorRef& w, double tau) {
    const auto here = [&](const Frozen& at) { return at.lin && at.w == w && at.mode == piece_->mode(); };
    if (at_ == nullptr || !here(*at_)) {
      at_ = at_ == &frozen_[0] ? &frozen_[1] : &frozen_[0];
      if (!here(*at_)) {
        at_->mode = piece_->mode();
        at_->w = w;
        piece_->linearize(w, at_->lin);
        at_->K.resize(shifted_.rows(), shifted_.cols());
        at_->lin->gram(0, piece_->num_params(), at_->K);
      }
    }
    shift_ = 1.0 / (piece_->scale() * tau);
    shifted_ = at_->K;
    shifted_.diagonal().array() += shift_;
    cholesky_.compute(shifted_);
    return cholesky_.regular();
  }

  std::shared_ptr<const Piece> piece_;
  Decay decay_;
  double shift_ = 0.0;
  std::array<Frozen, 2> frozen_;
  Frozen* at_ = nullptr;  // the last one asked for
  Matrix shifted_;
  SymmetricCholesky<double> cholesky_;
  Vector rows_, before_, change_, gap_, params_;
};

/// -K^-1 J grad R, in every mode at once, and what leads.
class DriftForces final : public Forces {
 public:
  DriftForces(std::shared_ptr<Piece> piece, std::shared_ptr<const Regularizer> regularizer,
              const TangentOptions& options)
      : piece_(std::move(piece)),
        regularizer_(std::move(regularizer)),
        slope_(piece_->num_params()),
        rows_(piece_->num_rows()),
        lead_(Vector::Zero(piece_->num_forces())) {
    tangent_ = make_tangent_space(CurvatureKind::gram, piece_, options, stats_);
  }

  void evaluate(const ConstVectorRef& w, VectorRef out) override {
    regularizer_->evaluate(w, slope_);
    tangent_->linearize(w);
    tangent_->multipliers(slope_, rows_);
    rows_ = -rows_;
    piece_->from_rows(w, rows_, out);
    out += lead_;
  }

  double react(const ConstVectorRef& w, const ConstVectorRef&, double, VectorRef out) override {
    evaluate(w, out);
    return 0.0;
  }

  void restore(const ConstVectorRef&, double, VectorRef) override {}
  void lead(const ConstVectorRef& force) override { lead_ = force; }

 private:
  Stats stats_;
  std::shared_ptr<const Piece> piece_;
  std::shared_ptr<const Regularizer> regularizer_;
  std::unique_ptr<TangentSpace> tangent_;
  Vector slope_, rows_, lead_;
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
