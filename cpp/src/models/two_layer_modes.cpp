// A two-layer network in one mode: act(z_ij) = slope_ij z_ij with a matrix of slopes that stays while the
// mode does. With x~_i = (x_i, 1) the rows of X~, y_j = (v_j, b_j) those of Y, and S = (slope_ij),
//
//   f_i = s <x~_i, (S M)_i>,  M = diag(u) Y;       J^T q = s (rowsum(Y o G), diag(u) G),  G = S^T diag(q) X~,
//
// and J v is f with M = diag(du) Y + diag(u) dY: each takes one product with S, and nothing else of size n x
// m.
//
// The surface i of neuron j is z_ij = <y_j, x~_i> = 0. Samples with the same input share a surface, on which
// their forces add up. Where a neuron slides on some surfaces its slope is put to 0, for z is 0, and y_j
// moves orthogonally to their inputs X~_j: with X~_j^T = Q_j R_j the projector is Pi_j = I - Q_j Q_j^T, and
//
//   K = s^2 (A A^T + (B B^T) o (X X^T + 1) - C C^T) [+ 1],    A = S o Z, B = S diag(u),
//   C = [diag(B_j) X~ Q_j, all sliding j].
//
// The multipliers of its surfaces solve X~_j X~_j^T q = X~_j field_j, q_i = theta_i jump_i, with the field on
// the side off; decay has no part in it, since X~_j y_j = 0. All are proportional to u_j, the gain.
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "grokflow/models/two_layer_network.hpp"
#include "numerics/symmetric.hpp"
#include "sliding_neurons.hpp"

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
        slope_(Matrix::Constant(net.num_residuals(), net.width_, slopes.below)),
        sliding_(net.width_, net.inputs_) {
    X_.resize(net.num_residuals(), net.inputs_ + 1);
    X_ << net.train_.X, Vector::Ones(net.num_residuals());
    find_surfaces();
    inputs_.resize(net.inputs_ + 1, num_surfaces());
    for (Index i = 0; i < num_surfaces(); ++i) inputs_.col(i) = X_.row(sample(i)).transpose();
    lengths_ = inputs_.colwise().norm().transpose();
    mode_.setConstant(num_surfaces(), num_units(), static_cast<signed char>(Side::off));
    inner_.resize(inputs_.rows());
  }

  bool has_hvp() const override { return true; }
  Index num_units() const override { return net_.width_; }
  Index num_surfaces() const override { return static_cast<Index>(samples_.size()); }
  Index num_sliding() const override { return sliding_.num_surfaces(); }
  std::vector<Block> blocks() const override { return net_.blocks(); }

  void residual(const ConstVectorRef& w, VectorRef out) const override {
    read_inner(w, Y_);
    forward(w, Y_, out);
  }

  void gradient(const ConstVectorRef& w, VectorRef out) const override {
    force_.resize(num_residuals());
    residual(w, force_);
    force_ *= scale();
    pull_back(force_, w.head(net_.width_), Y_, out);
  }

  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;

  void enter(Index unit, const signed char* sides) override {
    std::vector<Index> slid;
    for (Index i = 0; i < num_surfaces(); ++i) {
      mode_(i, unit) = sides[i];
      if (sides[i] == 0) slid.push_back(i);
    }
    for (Index k = 0; k < num_residuals(); ++k) {
      const signed char side = sides[surface_of_[k]];
      slope_(k, unit) = side == 0 ? 0.0 : side > 0 ? slopes_.above : slopes_.below;
    }
    const Matrix inputs = columns(slid);
    sliding_.set(unit, std::move(slid), inputs);
  }

  void look(const ConstVectorRef& w, MatrixRef distances, VectorRef residual) const override {
    read_inner(w, Y_);
    distances.noalias() = inputs_.transpose() * Y_.transpose();
    distances.array().colwise() /= lengths_.array();
    forward(w, Y_, residual);
  }

  void sizes(const ConstVectorRef& w, VectorRef out) const override {
    const Index m = net_.width_, p = net_.inputs_;
    out = (ConstMap(w.data() + m, p, m).colwise().squaredNorm().transpose() +
           w.segment(m * (1 + p), m).cwiseAbs2())
              .cwiseSqrt();
  }

  void gains(const ConstVectorRef& w, VectorRef out) const override { out = w.head(net_.width_); }

  void project(VectorRef v) const override { sliding_.project(v); }

  void multipliers(const ConstVectorRef& signs, const ConstVectorRef& force, VectorRef low,
                   VectorRef high) const override {
    Index slot = 0;
    add_up(force);
    gather(force);
    for (const SlidingNeuron& slid : sliding_) {
      const Index k = static_cast<Index>(slid.surfaces.size());
      const double sign = signs[slid.unit];
      set_field(slid.unit, sign, slid.surfaces, inner_);
      auto q = low.segment(slot, k);
      q.noalias() = slid.Q.transpose() * inner_;
      slid.R.triangularView<Eigen::Upper>().solveInPlace(q);
      for (Index i = 0; i < k; ++i) high[slot + i] = jump(sign, slid.surfaces[i]) - q[i];
      slot += k;
    }
  }

  void kinks(double sign, const ConstVectorRef& force, Index unit, const std::vector<Index>& surfaces,
             Kinks& out) const override {
    out.normals = columns(surfaces);
    out.field.resize(inputs_.rows());
    out.jumps.resize(static_cast<Index>(surfaces.size()));
    add_up(force);
    gather(force);
    set_field(unit, sign, surfaces, out.field);
    for (std::size_t i = 0; i < surfaces.size(); ++i) out.jumps[i] = jump(sign, surfaces[i]);
  }

  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const override {
    Eigen::ColPivHouseholderQR<Matrix> qr(columns(surfaces));
    qr.setThreshold(kDependent);
    const Index rank = qr.rank();
    sliding_.get(w, unit, inner_);
    if (rank == inner_.size()) {
      inner_.setZero();
    } else {
      const Matrix Q = qr.householderQ() * Matrix::Identity(inner_.size(), rank);
      for (int pass = 0; pass < 2; ++pass) inner_ -= Q * (Q.transpose() * inner_);
    }
    sliding_.put(w, unit, inner_);
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

  /// The forces on each surface, for `jump` and `set_field`.
  void add_up(const ConstVectorRef& force) const {
    forces_.setZero(num_surfaces());
    for (Index k = 0; k < num_residuals(); ++k) forces_[surface_of_[k]] += net_.output_scale_ * force[k];
  }

  /// Both with a gain of this sign and size 1.
  double jump(double sign, Index surface) const {
    return sign * (slopes_.above - slopes_.below) * forces_[surface];
  }

  /// The field of a neuron with the surfaces named off, after `gather`.
  void set_field(Index unit, double sign, const std::vector<Index>& surfaces, Vector& out) const {
    out = -net_.output_scale_ * G_.row(unit).transpose();
    for (const Index i : surfaces) {
      const double excess = slope_(sample(i), unit) - slopes_.below;
      if (excess != 0.0) out += excess * forces_[i] * inputs_.col(i);
    }
    out *= sign;
  }

  /// Y at w, for a direction in place of w dY.
  void read_inner(const ConstVectorRef& w, Matrix& Y) const {
    const Index m = net_.width_, p = net_.inputs_;
    Y.resize(m, p + 1);
    Y.leftCols(p) = ConstMap(w.data() + m, p, m).transpose();
    Y.col(p) = w.segment(m * (1 + p), m);
  }

  void forward(const ConstVectorRef& w, const Matrix& Y, VectorRef out) const {
    M_ = w.head(net_.width_).asDiagonal() * Y;
    put_through(out);
    out -= net_.train_.y;
    if (net_.output_bias_) out.array() += w[num_params() - 1];
  }

  /// out_i = s <x~_i, (S M)_i>
  void put_through(VectorRef out) const {
    SM_.resize(slope_.rows(), M_.cols());
    SM_.noalias() = slope_ * M_;
    out = net_.output_scale_ * SM_.cwiseProduct(X_).rowwise().sum();
  }

  /// G = S^T diag(q) X~
  void gather(const ConstVectorRef& q) const {
    qX_ = q.asDiagonal() * X_;
    G_.resize(slope_.cols(), X_.cols());
    G_.noalias() = slope_.transpose() * qX_;
  }

  /// out = Pi J^T q at the point with these u and Y.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& Y, VectorRef out) const {
    gather(q);
    out.head(net_.width_) = net_.output_scale_ * G_.cwiseProduct(Y).rowwise().sum();
    write_inner(net_.output_scale_ * u, G_, out);
    if (net_.output_bias_) out[num_params() - 1] = std::accumulate(q.begin(), q.end(), 0.0);
    project(out);
  }

  /// The part of out that is diag(u) G.
  template <class U>
  void write_inner(const U& u, const Matrix& G, VectorRef out) const {
    const Index m = net_.width_, p = net_.inputs_;
    Map(out.data() + m, p, m) = (u.asDiagonal() * G.leftCols(p)).transpose();
    out.segment(m * (1 + p), m) = u.cwiseProduct(G.col(p));
  }

  const TwoLayerNetwork& net_;
  Activation::Slopes slopes_;
  std::vector<Index> samples_, surface_of_;  // the first sample on a surface, and the surface of a sample
  Matrix X_;                                 // X~: x~_i, one row for each sample,
  Matrix inputs_;                            // and one column for each surface
  Vector lengths_;                           // ||x~_i||
  Matrix slope_;                             // n x m
  SlidingNeurons sliding_;
  mutable Matrix Y_, M_, SM_, qX_, G_;  // scratch: a piece serves one run
  mutable Vector force_, forces_, inner_;
};

/// u, Y and r at one point, in the mode of that time.
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
    piece_.read_inner(w, Y_);
    piece_.forward(w, Y_, g_);
    g_ *= piece_.scale();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    push(out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override { piece_.pull_back(q, u_, Y_, out); }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index m = net_.width_, a = m * (2 + net_.inputs_), d = num_params();
    for (const Index edge : {begin, end})
      if (edge != 0 && edge != m && edge != a && edge != d) return Linearization::gram(begin, end, K);
    K.setZero();
    if (begin == 0) {
      AB_.resize(num_residuals(), m);
      AB_.noalias() = piece_.X_ * Y_.transpose();
      AB_.array() *= piece_.slope_.array();
      K.selfadjointView<Eigen::Lower>().rankUpdate(AB_);
    }
    if (begin <= m && a <= end) {
      AB_ = piece_.slope_ * u_.asDiagonal();
      BB_.setZero();
      BB_.selfadjointView<Eigen::Lower>().rankUpdate(AB_);
      K += BB_.cwiseProduct(net_.input_kernel()) + BB_;
      if (piece_.num_sliding() > 0) subtract_slid(K);
    }
    K *= net_.output_scale_ * net_.output_scale_;
    if (a < d && end == d) K.array() += 1.0;
    mirror_lower(K);
  }

  /// c J^T J v, and the curvature of the residuals: with G at c r, s (rowsum(dY o G), diag(du) G).
  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    push(h_);
    h_ *= piece_.scale();
    vjp(h_, out);
    const Index m = net_.width_;
    piece_.gather(g_);
    piece_.G_ *= net_.output_scale_;
    more_.resize(num_params());
    more_.head(m) = piece_.G_.cwiseProduct(dY_).rowwise().sum();
    piece_.write_inner(params_.head(m), piece_.G_, more_);
    if (net_.output_bias_) more_[num_params() - 1] = 0.0;
    piece_.project(more_);
    out += more_;
  }

 private:
  /// out = J v for the v in params_, and dY.
  void push(VectorRef out) const {
    piece_.read_inner(params_, dY_);
    piece_.M_ = params_.head(net_.width_).asDiagonal() * Y_;
    piece_.M_ += u_.asDiagonal() * dY_;
    piece_.put_through(out);
    if (net_.output_bias_) out.array() += params_[num_params() - 1];
  }

  /// K <- K - C C^T, its lower triangle.
  void subtract_slid(MatrixRef K) const {
    C_.resize(num_residuals(), piece_.num_sliding());
    Index column = 0;
    for (const SlidingNeuron& slid : piece_.sliding_) {
      auto C = C_.middleCols(column, slid.Q.cols());
      C.noalias() = piece_.X_ * slid.Q;
      for (Index k = 0; k < C.cols(); ++k)
        C.col(k).array() *= u_[slid.unit] * piece_.slope_.col(slid.unit).array();
      column += slid.Q.cols();
    }
    K.selfadjointView<Eigen::Lower>().rankUpdate(C_, -1.0);
  }

  const InMode& piece_;
  const TwoLayerNetwork& net_;
  Matrix Y_;
  Vector u_, g_;  // g = c r
  mutable Vector params_, h_, more_;
  mutable Matrix dY_, AB_, BB_, C_;
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
      "the rates of 'V' and 'b' differ, and the activation has a kink: the inner weights of a neuron that "
      "slides along data points must decay alike; give 'V' and 'b' one rate");
}

}  // namespace grokflow
