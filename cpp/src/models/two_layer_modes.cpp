// A two-layer network in one mode: act(z_ij) = slope_ij z_ij with a matrix of slopes that stays while the
// mode does.
//
// The surface i of neuron j is z_ij = <y_j, x~_i> = 0, with the inner weights y_j = (v_j, b_j) and x~_i =
// (x_i, 1). Samples with the same input share a surface, on which their forces add up. Where a neuron slides
// on the surfaces S its slope is put to 0, for z is 0, and y_j moves orthogonally to x~_i, i in S: with
// X~_S^T = Q R the projector is Pi_j = I - Q Q^T, and
//
//   K = s^2 (A A^T + (B B^T) o (X X^T + 1) - C C^T) [+ 1],    C = [diag(B_j) X~ Q_j, all sliding j].
//
// The multipliers of its surfaces solve X~_S X~_S^T q = X~_S field_j, q_i = theta_i jump_i, with the field on
// the side off; decay has no part in it, since X~_S y_j = 0. All are proportional to u_j, the gain.
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "../symmetric.hpp"
#include "grokflow/models/two_layer_network.hpp"

namespace grokflow {
namespace {

using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;

constexpr double kDependent = 1e-10;  // relative distance of an input from the span of others, that is none

}  // namespace

class TwoLayerNetwork::InMode final : public Piece {
 public:
  InMode(const TwoLayerNetwork& net, Activation::Slopes slopes)
      : Piece(net.num_params(), net.num_residuals(), net.scale()),
        net_(net),
        slopes_(slopes),
        slope_(Matrix::Constant(net.num_residuals(), net.width_, slopes.below)) {
    find_surfaces();
    inputs_.resize(net.inputs_ + 1, num_surfaces());
    for (Index i = 0; i < num_surfaces(); ++i) inputs_.col(i) << net.train_.X.row(sample(i)).transpose(), 1.0;
    lengths_ = inputs_.colwise().norm().transpose();
    mode_.setConstant(num_surfaces(), num_units(), static_cast<signed char>(Side::off));
    inner_.resize(inputs_.rows());
    part_.resize(inputs_.rows());
  }

  bool has_hvp() const override { return true; }
  Index num_units() const override { return net_.width_; }
  Index num_surfaces() const override { return static_cast<Index>(samples_.size()); }
  Index num_sliding() const override { return num_sliding_; }
  std::vector<Block> blocks() const override { return net_.blocks(); }

  void residual(const ConstVectorRef& w, VectorRef out) const override { forward(w, A_, out); }

  void gradient(const ConstVectorRef& w, VectorRef out) const override {
    force_.resize(num_residuals());
    forward(w, A_, force_);
    force_ *= scale();
    pull_back(force_, w.head(net_.width_), A_, out);
  }

  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;

  void enter(Index unit, const signed char* sides) override {
    Slid slid;
    for (Index i = 0; i < num_surfaces(); ++i) {
      mode_(i, unit) = sides[i];
      if (sides[i] == 0) slid.surfaces.push_back(i);
    }
    for (Index k = 0; k < num_residuals(); ++k) {
      const signed char side = sides[surface_of_[k]];
      slope_(k, unit) = side == 0 ? 0.0 : side > 0 ? slopes_.above : slopes_.below;
    }
    const auto old = sliding_.find(unit);
    if (old != sliding_.end()) {
      num_sliding_ -= static_cast<Index>(old->second.surfaces.size());
      sliding_.erase(old);
    }
    if (slid.surfaces.empty()) return;
    const Index k = static_cast<Index>(slid.surfaces.size());
    const Matrix normals = columns(slid.surfaces);
    const Eigen::HouseholderQR<Matrix> qr(normals);
    slid.Q = qr.householderQ() * Matrix::Identity(normals.rows(), k);
    slid.R = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
    num_sliding_ += k;
    sliding_.emplace(unit, std::move(slid));
  }

  void look(const ConstVectorRef& w, MatrixRef distances, VectorRef residual) const override {
    const Index m = net_.width_;
    A_.resize(num_residuals(), m);
    preactivation(w, A_);
    for (Index i = 0; i < num_surfaces(); ++i) distances.row(i) = A_.row(sample(i)) / lengths_[i];
    A_.array() *= slope_.array();
    residual.noalias() = A_ * w.head(m);
    finish(w, residual);
  }

  void sizes(const ConstVectorRef& w, VectorRef out) const override {
    const Index m = net_.width_, p = net_.inputs_;
    out = (ConstMap(w.data() + m, p, m).colwise().squaredNorm().transpose() +
           w.segment(m * (1 + p), m).cwiseAbs2())
              .cwiseSqrt();
  }

  void gains(const ConstVectorRef& w, VectorRef out) const override { out = w.head(net_.width_); }

  void project(VectorRef v) const override {
    for (const auto& [unit, slid] : sliding_) {
      get(v, unit, inner_);
      auto along = part_.head(slid.Q.cols());
      along.noalias() = slid.Q.transpose() * inner_;
      inner_.noalias() -= slid.Q * along;
      set(v, unit, inner_);
    }
  }

  void multipliers(const ConstVectorRef& signs, const ConstVectorRef& force, VectorRef low,
                   VectorRef high) const override {
    Index slot = 0;
    add_up(force);
    for (const auto& [unit, slid] : sliding_) {
      const Index k = static_cast<Index>(slid.surfaces.size());
      set_field(unit, signs[unit], slid.surfaces, inner_);
      auto q = low.segment(slot, k);
      q.noalias() = slid.Q.transpose() * inner_;
      slid.R.triangularView<Eigen::Upper>().solveInPlace(q);
      for (Index i = 0; i < k; ++i) high[slot + i] = jump(signs[unit], slid.surfaces[i]) - q[i];
      slot += k;
    }
  }

  void kinks(double sign, const ConstVectorRef& force, Index unit, const std::vector<Index>& surfaces,
             Kinks& out) const override {
    out.normals = columns(surfaces);
    out.field.resize(inputs_.rows());
    out.jumps.resize(static_cast<Index>(surfaces.size()));
    add_up(force);
    set_field(unit, sign, surfaces, out.field);
    for (std::size_t i = 0; i < surfaces.size(); ++i) out.jumps[i] = jump(sign, surfaces[i]);
  }

  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const override {
    Eigen::ColPivHouseholderQR<Matrix> qr(columns(surfaces));
    qr.setThreshold(kDependent);
    const Index rank = qr.rank();
    get(w, unit, inner_);
    if (rank == inner_.size()) {
      inner_.setZero();
    } else {
      const Matrix Q = qr.householderQ() * Matrix::Identity(inner_.size(), rank);
      for (int pass = 0; pass < 2; ++pass) inner_ -= Q * (Q.transpose() * inner_);
    }
    set(w, unit, inner_);
    return inner_.isZero(0.0);
  }

  Index sample(Index surface) const override { return samples_[surface]; }

  std::string describe(Index unit, const std::vector<Index>& surfaces) const override {
    std::ostringstream text;
    text << "neuron " << unit << " at data point" << (surfaces.size() == 1 ? " " : "s ");
    for (std::size_t i = 0; i < surfaces.size(); ++i) text << (i ? ", " : "") << sample(surfaces[i]);
    return text.str();
  }

 private:
  class At;

  /// A neuron that slides: on which surfaces, and X~_S^T = Q R.
  struct Slid {
    std::vector<Index> surfaces;
    Matrix Q, R;
  };

  /// One surface for each distinct input, in the order of their first samples.
  void find_surfaces() {
    const auto row = [this](Index i) { return net_.train_.X.row(i); };
    const auto before = [&](Index a, Index b) {
      return std::lexicographical_compare(row(a).begin(), row(a).end(), row(b).begin(), row(b).end());
    };
    std::map<Index, Index, decltype(before)> seen(before);
    for (Index k = 0; k < num_residuals(); ++k) {
      const auto [first, is_new] = seen.emplace(k, static_cast<Index>(samples_.size()));
      if (is_new) samples_.push_back(k);
      surface_of_.push_back(first->second);
    }
  }

  Matrix columns(const std::vector<Index>& surfaces) const {
    Matrix out(inputs_.rows(), static_cast<Index>(surfaces.size()));
    for (std::size_t i = 0; i < surfaces.size(); ++i) out.col(i) = inputs_.col(surfaces[i]);
    return out;
  }

  /// y_j, read from and written to a vector of parameters.
  void get(const ConstVectorRef& w, Index unit, Vector& y) const {
    const Index m = net_.width_, p = net_.inputs_;
    y.head(p) = w.segment(m + unit * p, p);
    y[p] = w[m * (1 + p) + unit];
  }
  void set(VectorRef w, Index unit, const Vector& y) const {
    const Index m = net_.width_, p = net_.inputs_;
    w.segment(m + unit * p, p) = y.head(p);
    w[m * (1 + p) + unit] = y[p];
  }

  /// The forces on each surface, for `jump` and `set_field`.
  void add_up(const ConstVectorRef& force) const {
    forces_.setZero(num_surfaces());
    for (Index k = 0; k < num_residuals(); ++k) forces_[surface_of_[k]] += net_.output_scale_ * force[k];
  }

  /// Both with a gain of this sign and size 1.
  double jump(double sign, Index surface) const {
    return sign * (slopes_.above - slopes_.below) * forces_[surface];
  }

  /// -sum_i slope_i force_i x~_i, with the surfaces named off.
  void set_field(Index unit, double sign, const std::vector<Index>& surfaces, Vector& out) const {
    pull_.resize(num_surfaces());
    for (Index i = 0; i < num_surfaces(); ++i) pull_[i] = slope_(sample(i), unit) * forces_[i];
    for (const Index i : surfaces) pull_[i] = slopes_.below * forces_[i];
    out.noalias() = -sign * (inputs_ * pull_);
  }

  void preactivation(const ConstVectorRef& w, MatrixRef Z) const {
    const Index m = net_.width_, p = net_.inputs_;
    Z.noalias() = net_.train_.X * ConstMap(w.data() + m, p, m);
    Z.rowwise() += w.segment(m * (1 + p), m).transpose();
  }

  void forward(const ConstVectorRef& w, Matrix& A, VectorRef out) const {
    A.resize(num_residuals(), net_.width_);
    preactivation(w, A);
    A.array() *= slope_.array();
    out.noalias() = A * w.head(net_.width_);
    finish(w, out);
  }

  /// From the sum over neurons to the residual.
  void finish(const ConstVectorRef& w, VectorRef out) const {
    out = net_.output_scale_ * out - net_.train_.y;
    if (net_.output_bias_) out.array() += w[num_params() - 1];
  }

  /// out = Pi J^T q at the point with this A and u.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& A, VectorRef out) const {
    const Index m = net_.width_, p = net_.inputs_;
    const double s = net_.output_scale_;
    E_ = q.asDiagonal() * slope_ * (s * u).asDiagonal();
    out.head(m).noalias() = s * (A.transpose() * q);
    Map(out.data() + m, p, m).noalias() = net_.train_.X.transpose() * E_;
    out.segment(m * (1 + p), m) = E_.colwise().sum().transpose();
    if (net_.output_bias_) out[num_params() - 1] = q.sum();
    project(out);
  }

  const TwoLayerNetwork& net_;
  Activation::Slopes slopes_;
  std::vector<Index> samples_, surface_of_;  // the first sample on a surface, and the surface of a sample
  Matrix inputs_;                            // x~_i, one column for each surface
  Vector lengths_;                           // ||x~_i||
  Matrix slope_;                             // n x m
  std::map<Index, Slid> sliding_;
  Index num_sliding_ = 0;
  mutable Matrix A_, E_;  // scratch: a piece serves one run
  mutable Vector force_, forces_, pull_, inner_, part_;
};

/// A, u and r at one point, in the mode of that time.
class TwoLayerNetwork::InMode::At final : public Linearization {
 public:
  explicit At(const InMode& piece)
      : Linearization(piece.num_params(), piece.num_residuals()), piece_(piece), net_(piece.net_) {
    params_.resize(num_params());
    g_.resize(num_residuals());
    h_.resize(num_residuals());
    BB_.resize(num_residuals(), num_residuals());
  }

  void refill(const ConstVectorRef& w) {
    u_ = w.head(net_.width_);
    piece_.forward(w, A_, g_);
    g_ *= piece_.scale();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    push(params_, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override { piece_.pull_back(q, u_, A_, out); }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index m = net_.width_, a = m * (2 + net_.inputs_), d = num_params();
    for (const Index edge : {begin, end})
      if (edge != 0 && edge != m && edge != a && edge != d) return Linearization::gram(begin, end, K);
    K.setZero();
    if (begin == 0) K.selfadjointView<Eigen::Lower>().rankUpdate(A_);
    if (begin <= m && a <= end) {
      B_ = piece_.slope_ * u_.asDiagonal();
      BB_.setZero();
      BB_.selfadjointView<Eigen::Lower>().rankUpdate(B_);
      K += BB_.cwiseProduct(net_.input_kernel()) + BB_;
      if (piece_.num_sliding_ > 0) subtract_slid(K);
    }
    K *= net_.output_scale_ * net_.output_scale_;
    if (a < d && end == d) K.array() += 1.0;
    mirror_lower(K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    const Index m = net_.width_, p = net_.inputs_;
    const double s = net_.output_scale_;
    params_ = v;
    piece_.project(params_);
    push(params_, h_);
    h_ *= piece_.scale();
    piece_.pull_back(h_, u_, A_, out);
    dZ_.resize(A_.rows(), m);
    piece_.preactivation(params_, dZ_);
    dZ_.array() *= piece_.slope_.array();
    out.head(m).noalias() += s * (dZ_.transpose() * g_);
    dZ_ = g_.asDiagonal() * piece_.slope_ * (s * params_.head(m)).asDiagonal();
    Map(out.data() + m, p, m).noalias() += net_.train_.X.transpose() * dZ_;
    out.segment(m * (1 + p), m) += dZ_.colwise().sum().transpose();
    piece_.project(out);
  }

 private:
  /// out = J v
  void push(const Vector& v, VectorRef out) const {
    const Index m = net_.width_;
    dZ_.resize(A_.rows(), m);
    piece_.preactivation(v, dZ_);
    dZ_.array() *= piece_.slope_.array();
    out.noalias() = A_ * v.head(m);
    out.noalias() += dZ_ * u_;
    out *= net_.output_scale_;
    if (net_.output_bias_) out.array() += v[num_params() - 1];
  }

  /// K <- K - C C^T, its lower triangle.
  void subtract_slid(MatrixRef K) const {
    C_.resize(A_.rows(), piece_.num_sliding_);
    Index column = 0;
    for (const auto& [unit, slid] : piece_.sliding_) {
      auto C = C_.middleCols(column, slid.Q.cols());
      C.noalias() = net_.train_.X * slid.Q.topRows(net_.inputs_);
      C.rowwise() += slid.Q.row(net_.inputs_);
      for (Index k = 0; k < C.cols(); ++k) C.col(k).array() *= u_[unit] * piece_.slope_.col(unit).array();
      column += slid.Q.cols();
    }
    K.selfadjointView<Eigen::Lower>().rankUpdate(C_, -1.0);
  }

  const InMode& piece_;
  const TwoLayerNetwork& net_;
  Matrix A_;
  Vector u_, g_;  // g = c r
  mutable Vector params_, h_;
  mutable Matrix B_, BB_, C_, dZ_;
};

void TwoLayerNetwork::InMode::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

bool TwoLayerNetwork::has_kinks() const { return activation_.slopes().has_value(); }

std::shared_ptr<Piece> TwoLayerNetwork::make_piece() const {
  if (!has_kinks()) throw std::logic_error("this activation has no kink");
  return std::make_shared<InMode>(*this, *activation_.slopes());
}

void TwoLayerNetwork::require_decay(const Decay& decay) const {
  const Index begin = width_, end = width_ * (2 + inputs_);
  for (const Decay::Group& group : decay.groups())
    for (const Decay::Range& range : group.ranges)
      if (range.begin <= begin && end <= range.end) return;
  throw std::invalid_argument(
      "weight_decay differs between 'V' and 'b', and the activation has a kink: the inner weights of a "
      "neuron that "
      "slides along data points must decay alike; give 'V' and 'b' one rate");
}

}  // namespace grokflow
