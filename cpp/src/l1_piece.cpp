// F on one side of each surface w_i = 0 that an l1 norm has: with signs s_i, where a weight slides (stays 0) s_i = 0,
// the flow is
//
//   dw/dt = -Pi grad F - (weight_i s_i),    Pi = diag(s_i != 0).
//
// The field of w_i is -grad_i F + weight_i on the side off, w_i < 0, and 2 weight_i less on the other, so that the
// multipliers of one that slides are weight_i -+ grad_i F: it stays while |grad_i F| <= weight_i.
#include <algorithm>
#include <utility>

#include "grokflow/penalised.hpp"
#include "linearized.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {

class L1Problem::InMode final : public Piece {
 public:
  explicit InMode(const L1Problem& whole)
      : Piece(whole.num_params(), whole.num_residuals(), whole.scale()),
        problem_(*whole.problem_),
        weights_(whole.norm_.weights()),
        by_residuals_(has_residuals() && num_residuals() <= num_params()),
        tilt_(std::make_shared<Vector>(Vector::Zero(num_params()))),
        gradient_(num_params()) {
    for (Index i = 0; i < num_params(); ++i)
      if (weights_[i] > 0.0) units_.push_back(i);
    mode_.setConstant(1, num_units(), static_cast<signed char>(Side::off));
    for (const Index i : units_) (*tilt_)[i] = -weights_[i];
    if (problem_.is_quadratic() && by_residuals_) keep_jacobian();
  }

  bool has_hvp() const override { return problem_.has_hvp(); }
  bool has_hessian() const override { return problem_.has_hessian(); }
  bool has_forces() const override { return by_residuals_; }
  bool attained() const override { return problem_.attained(); }
  Cost cost() const override { return problem_.cost(); }
  std::vector<Block> blocks() const override { return problem_.blocks(); }
  void residual(const ConstVectorRef& w, VectorRef out) const override { problem_.residual(w, out); }
  double loss(const ConstVectorRef& w) const override { return problem_.loss(w); }
  void gradient(const ConstVectorRef& w, VectorRef out) const override {
    problem_.gradient(w, out);
    project(out);
  }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;

  Index num_units() const override { return static_cast<Index>(units_.size()); }
  Index num_surfaces() const override { return 1; }
  Index num_sliding() const override { return num_sliding_; }
  void enter(Index unit, const signed char* sides) override {
    num_sliding_ += static_cast<Index>(sides[0] == 0) - static_cast<Index>(mode_(0, unit) == 0);
    mode_(0, unit) = sides[0];
    (*tilt_)[units_[unit]] = sides[0] * weights_[units_[unit]];
  }

  /// c r, or else grad F itself.
  Index num_forces() const override { return by_residuals_ ? num_residuals() : num_params(); }
  bool forces_react() const override { return by_residuals_; }
  void slopes(const ConstVectorRef& w, VectorRef out) const override {
    if (by_residuals_) return problem_.residual(w, out);
    problem_.gradient(w, out);
    out /= scale();
  }

  void distances(const ConstVectorRef& w, MatrixRef out) const override {
    for (Index j = 0; j < num_units(); ++j) out(0, j) = w[units_[j]];
  }
  /// A weight of 0 has no size of its own: it is known as well as all of w.
  void sizes(const ConstVectorRef& w, VectorRef out) const override { out.setConstant(w.stableNorm()); }
  void gains(const ConstVectorRef&, VectorRef out) const override { out.setOnes(); }

  void project(VectorRef v) const override {
    for (Index j = 0; j < num_units(); ++j)
      if (mode_(0, j) == 0) v[units_[j]] = 0.0;
  }
  std::shared_ptr<const Vector> tilt() const override { return tilt_; }

  void multipliers(const ConstVectorRef&, const ConstVectorRef& w, const ConstVectorRef& force, VectorRef low,
                   VectorRef high) const override {
    pull_back(w, force);
    Index slot = 0;
    for (Index j = 0; j < num_units(); ++j) {
      if (mode_(0, j) != 0) continue;
      const Index i = units_[j];
      low[slot] = decay_factor() * weights_[i] - gradient_[i];
      high[slot++] = decay_factor() * weights_[i] + gradient_[i];
    }
  }

  void kinks(double, const ConstVectorRef& w, const ConstVectorRef& force, Index unit,
             const std::vector<Index>&, Kinks& out) const override {
    pull_back(w, force);
    const Index i = units_[unit];
    out.normals = Matrix::Ones(1, 1);
    out.field = Vector::Constant(1, decay_factor() * weights_[i] - gradient_[i]);
    out.jumps = Vector::Constant(1, 2.0 * decay_factor() * weights_[i]);
  }

  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const override {
    if (!surfaces.empty()) w[units_[unit]] = 0.0;
    return false;
  }
  Index sample(Index) const override { return 0; }
  Index index(Index unit) const override { return units_[unit]; }
  std::string describe(Index unit, const std::vector<Index>&) const override {
    return "weight " + std::to_string(units_[unit]) + " at 0";
  }

 private:
  class At;

  void keep_jacobian() {
    std::unique_ptr<Linearization> lin;
    const Linearization& at = linearized(problem_, Vector::Zero(num_params()), lin);
    jacobian_.resize(num_params(), num_residuals());
    for (Index i = 0; i < num_residuals(); ++i) at.vjp(Vector::Unit(num_residuals(), i), jacobian_.col(i));
  }

  /// gradient_ = grad F, all of it, with this force at w. A change of mode asks again and again.
  void pull_back(const ConstVectorRef& w, const ConstVectorRef& force) const {
    if (asked_w_.size() > 0 && asked_w_ == w && asked_force_ == force) return;
    asked_w_ = w;
    asked_force_ = force;
    if (!by_residuals_)
      gradient_ = force;
    else if (jacobian_.size() > 0)
      apply(jacobian_, force, gradient_);
    else
      problem_.gradient_through(w, [&](VectorRef r) { r = force; }, gradient_);
  }

  const Problem& problem_;
  const Vector& weights_;
  std::vector<Index> units_;  // the weights that have a kink
  bool by_residuals_;         // the force is c r
  Index num_sliding_ = 0;
  std::shared_ptr<Vector> tilt_;
  Matrix jacobian_;  // J^T, where it is the same everywhere
  mutable Vector gradient_, asked_w_, asked_force_;
};

/// J Pi, Pi Hess F Pi and c r.
class L1Problem::InMode::At final : public Linearization {
 public:
  explicit At(const InMode& piece)
      : Linearization(piece.num_params(), piece.num_residuals()),
        piece_(piece),
        params_(piece.num_params()) {}

  void refill(const ConstVectorRef& w) {
    linearized(piece_.problem_, w, lin_).checkpoint = [this] { check(); };
    if (!piece_.by_residuals_) return;
    if (const Vector* scaled = lin_->scaled_residual()) {
      g_ = *scaled;
    } else {
      g_.resize(num_residuals());
      piece_.residual(w, g_);
      g_ *= piece_.scale();
    }
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    lin_->jvp(params_, out);
  }
  void vjp(const ConstVectorRef& u, VectorRef out) const override {
    lin_->vjp(u, out);
    piece_.project(out);
  }
  const Vector* scaled_residual() const override { return piece_.by_residuals_ ? &g_ : nullptr; }

  /// By columns of J: those that slide are taken away, or the others added up, whichever are fewer.
  void gram(Index begin, Index end, MatrixRef K) const override {
    std::vector<Index> slid;
    for (Index j = 0; j < piece_.num_units(); ++j)
      if (const Index i = piece_.units_[j]; piece_.mode_(0, j) == 0 && begin <= i && i < end)
        slid.push_back(i);
    const Index others = end - begin - static_cast<Index>(slid.size());
    const bool take_away = static_cast<Index>(slid.size()) <= others;
    std::vector<Index> columns = slid;
    if (take_away) {
      lin_->gram(begin, end, K);
    } else {
      K.setZero();
      columns.clear();
      for (Index i = begin, k = 0; i < end; ++i)
        if (k < static_cast<Index>(slid.size()) && slid[k] == i)
          ++k;
        else
          columns.push_back(i);
    }
    if (columns.empty()) return;
    C_.resize(num_residuals(), static_cast<Index>(columns.size()));
    for (std::size_t k = 0; k < columns.size(); ++k) {
      auto column = C_.col(static_cast<Index>(k));
      if (piece_.jacobian_.size() > 0)
        column = piece_.jacobian_.row(columns[k]).transpose();
      else
        lin_->jvp(Vector::Unit(num_params(), columns[k]), column);
    }
    add_gram(C_, K, take_away ? -1.0 : 1.0);
    mirror_lower(K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    lin_->hvp(params_, out);
    piece_.project(out);
  }

  void hessian(MatrixRef H) const override {
    lin_->hessian(H);
    for (Index j = 0; j < piece_.num_units(); ++j) {
      if (piece_.mode_(0, j) != 0) continue;
      H.row(piece_.units_[j]).setZero();
      H.col(piece_.units_[j]).setZero();
    }
  }

 private:
  const InMode& piece_;
  std::unique_ptr<Linearization> lin_;
  Vector g_;
  mutable Vector params_;
  mutable Matrix C_;
};

void L1Problem::InMode::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

std::shared_ptr<Piece> L1Problem::make_piece(const Decay&, const Frozen&) const {
  return std::make_shared<InMode>(*this);
}

}  // namespace grokflow
