#include "two_layer_piece.hpp"

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "numerics/products.hpp"

namespace grokflow {
namespace {

constexpr double kDependent = 1e-10;  // relative distance of an input from the span of others, that is none

}  // namespace

TwoLayerNetwork::InMode::InMode(const TwoLayerNetwork& net, Activation::Slopes slopes, const Decay& decay,
                                const Frozen& frozen)
    : Piece(net.num_params(), net.num_residuals(), net.scale()),
      net_(net),
      slopes_(slopes),
      V_(!frozen.at(net.V_begin())),
      b_(net.inner_bias_ && !frozen.at(net.b_begin())),
      first_(V_ ? 0 : net.inputs_),
      size_(V_ * net.inputs_ + b_),
      slope_(Matrix::Constant(net.train_.X.rows(), net.width_, slopes.below)),
      sliding_(net.V_begin(), net.width_, net.inputs_, V_, b_,
               V_ && b_ && decay.rate(net.V_begin()) != decay.rate(net.b_begin())),
      inner_(size_),
      own_(size_) {
  X_ = Matrix::Ones(net.train_.X.rows(), net.inputs_ + net.inner_bias_);
  X_.leftCols(net.inputs_) = net.train_.X;
  find_surfaces();
  normals_.resize(size_, num_surfaces());
  for (Index i = 0; i < num_surfaces(); ++i) normals_.col(i) = trained(X_).row(sample(i)).transpose();
  lengths_ = normals_.colwise().norm().transpose();
  mode_.setConstant(num_surfaces(), num_units(), static_cast<signed char>(Side::off));
  freeze(frozen);
  push_ = lean_ = pushing(decay);
  if (offsets_.size() > 0 && push_.size() > 0) tilt_ = std::make_shared<Vector>(Vector::Zero(num_params()));
}

/// One surface for each distinct input, in the order of their first samples.
void TwoLayerNetwork::InMode::find_surfaces() {
  const auto row = [this](Index i) { return net_.train_.X.row(i); };
  const auto before = [&](Index a, Index b) {
    return std::lexicographical_compare(row(a).begin(), row(a).end(), row(b).begin(), row(b).end());
  };
  std::map<Index, Index, decltype(before)> seen(before);
  for (Index k = 0; k < X_.rows(); ++k) {
    if (trained(X_).row(k).isZero(0.0)) {
      surface_of_.push_back(-1);
      continue;
    }
    const auto [first, is_new] = seen.emplace(k, static_cast<Index>(samples_.size()));
    if (is_new) samples_.push_back(k);
    surface_of_.push_back(first->second);
  }
}

void TwoLayerNetwork::InMode::freeze(const Frozen& frozen) {
  Matrix still = Matrix::Zero(net_.width_, X_.cols());
  if (frozen.w.size() > 0) {
    read_inner(frozen.w, still);
    still.middleCols(first_, size_).setZero();
  }
  Matrix offsets(X_.rows(), net_.width_);
  multiply_nt(X_, still, offsets);
  for (Index k = 0; k < X_.rows(); ++k)
    if (surface_of_[k] < 0)
      for (Index j = 0; j < net_.width_; ++j)
        slope_(k, j) = offsets(k, j) == 0.0 ? 0.0 : offsets(k, j) > 0.0 ? slopes_.above : slopes_.below;
  if (still.isZero(0.0)) return;
  offsets_.resize(num_surfaces(), net_.width_);
  for (Index i = 0; i < num_surfaces(); ++i) offsets_.row(i) = offsets.row(sample(i));
  fixed_ = Vector::Zero(num_params());
}

Vector TwoLayerNetwork::InMode::pushing(const Decay& decay) const {
  const double V = V_ ? decay.rate(net_.V_begin()) : 0.0, b = b_ ? decay.rate(net_.b_begin()) : 0.0;
  if (V_ && b_) return V != b ? Vector(Vector::Unit(size_, net_.inputs_) * (b - V)) : Vector();
  return offsets_.size() > 0 && V + b > 0.0 ? Vector(Vector::Constant(size_, V + b)) : Vector();
}

void TwoLayerNetwork::InMode::residual(const ConstVectorRef& w, VectorRef out) const {
  read_inner(w, Y_);
  forward(w, Y_, out);
}

void TwoLayerNetwork::InMode::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                               VectorRef out) const {
  force_.resize(num_residuals());
  residual(w, force_);
  outer(force_);
  pull_back(force_, w.head(net_.V_begin()), Y_, out);
}

void TwoLayerNetwork::InMode::enter(Index unit, const signed char* sides) {
  std::vector<Index> slid;
  for (Index i = 0; i < num_surfaces(); ++i) {
    mode_(i, unit) = sides[i];
    if (sides[i] == 0) slid.push_back(i);
  }
  for (Index k = 0; k < X_.rows(); ++k) {
    if (surface_of_[k] < 0) continue;
    const signed char side = sides[surface_of_[k]];
    slope_(k, unit) = side == 0 ? 0.0 : side > 0 ? slopes_.above : slopes_.below;
  }
  const Matrix normals = columns(slid);
  if (fixed_.size() > 0) {
    own_ = point_on(unit, slid, orthonormal_range(normals, kDependent));
    sliding_.put(fixed_, unit, own_);
    if (tilt_) sliding_.put(*tilt_, unit, -push_.cwiseProduct(own_));
  }
  sliding_.set(unit, std::move(slid), normals);
}

void TwoLayerNetwork::InMode::distances(const ConstVectorRef& w, MatrixRef out) const {
  read_inner(w, Y_);
  multiply_tt(normals_, trained(Y_), out);
  if (offsets_.size() > 0) out += offsets_;
  out.array().colwise() /= lengths_.array();
}

void TwoLayerNetwork::InMode::sizes(const ConstVectorRef& w, VectorRef out) const {
  const Index m = net_.width_, p = net_.inputs_;
  out.setZero();
  if (V_) out = Eigen::Map<const Matrix>(w.data() + net_.V_begin(), p, m).colwise().squaredNorm().transpose();
  if (b_) out += w.segment(net_.b_begin(), m).cwiseAbs2();
  out = out.cwiseSqrt();
}

void TwoLayerNetwork::InMode::gains(const ConstVectorRef& w, VectorRef out) const {
  if (net_.outputs_ == 1)
    out = w.head(net_.width_);
  else
    out.setOnes();
}

void TwoLayerNetwork::InMode::multipliers(const ConstVectorRef& signs, const ConstVectorRef& w,
                                          const ConstVectorRef& force, VectorRef low, VectorRef high) const {
  Index slot = 0;
  add_up(force);
  gather(force);
  for (const SlidingNeuron& slid : sliding_) {
    const Index k = static_cast<Index>(slid.surfaces.size());
    set_unit(signs[slid.unit], w, slid.unit);
    set_field(slid.unit, w, slid.surfaces, inner_);
    auto q = low.segment(slot, k);
    apply_transposed(slid.inputs.Q, inner_, q);
    slid.inputs.R.triangularView<Eigen::Upper>().solveInPlace(q);
    for (Index i = 0; i < k; ++i) high[slot + i] = jump(slid.surfaces[i]) - q[i];
    slot += k;
  }
}

void TwoLayerNetwork::InMode::kinks(double sign, const ConstVectorRef& w, const ConstVectorRef& force,
                                    Index unit, const std::vector<Index>& surfaces, Kinks& out) const {
  out.normals = columns(surfaces);
  out.field.resize(size_);
  out.jumps.resize(static_cast<Index>(surfaces.size()));
  add_up(force);
  gather(force);
  set_unit(sign, w, unit);
  set_field(unit, w, surfaces, out.field);
  for (std::size_t i = 0; i < surfaces.size(); ++i) out.jumps[i] = jump(surfaces[i]);
  if (lean_.size() == 0) return;
  sliding_.get(w, unit, own_);
  out.lean = -lean_.cwiseProduct(own_);
}

bool TwoLayerNetwork::InMode::snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const {
  const Matrix Q = orthonormal_range(columns(surfaces), kDependent);
  sliding_.get(w, unit, inner_);
  if (Q.cols() == inner_.size()) {
    inner_.setZero();
  } else {
    for (int pass = 0; pass < 2; ++pass) inner_ -= Q * (Q.transpose() * inner_);
  }
  const bool pinned = inner_.isZero(0.0);
  if (offsets_.size() > 0) inner_ += point_on(unit, surfaces, Q);
  sliding_.put(w, unit, inner_);
  return pinned;
}

Vector TwoLayerNetwork::InMode::point_on(Index unit, const std::vector<Index>& surfaces,
                                         const Matrix& Q) const {
  Vector offsets(static_cast<Index>(surfaces.size()));
  for (std::size_t i = 0; i < surfaces.size(); ++i) offsets[i] = -offsets_(surfaces[i], unit);
  return Q * least_squares(columns(surfaces).transpose() * Q, offsets);
}

std::string TwoLayerNetwork::InMode::describe(Index unit, const std::vector<Index>& surfaces) const {
  std::ostringstream text;
  text << "neuron " << unit << " at data point" << (surfaces.size() == 1 ? " " : "s ");
  for (std::size_t i = 0; i < surfaces.size(); ++i) text << (i ? ", " : "") << sample(surfaces[i]);
  return text.str();
}

Matrix TwoLayerNetwork::InMode::columns(const std::vector<Index>& surfaces) const {
  Matrix out(size_, static_cast<Index>(surfaces.size()));
  for (std::size_t i = 0; i < surfaces.size(); ++i) out.col(i) = normals_.col(surfaces[i]);
  return out;
}

void TwoLayerNetwork::InMode::add_up(const ConstVectorRef& force) const {
  const Index k = net_.outputs_;
  forces_.setZero(k, num_surfaces());
  for (Index i = 0; i < X_.rows(); ++i)
    if (surface_of_[i] >= 0) forces_.col(surface_of_[i]) += net_.output_scale_ * force.segment(i * k, k);
}

void TwoLayerNetwork::InMode::set_unit(double sign, const ConstVectorRef& w, Index unit) const {
  weights_ = net_.outer(w).col(unit);
  if (net_.outputs_ == 1 && push_.size() == 0) weights_[0] = sign;
  felt_.resize(num_surfaces());
  apply_transposed(forces_, weights_, felt_);
}

double TwoLayerNetwork::InMode::jump(Index surface) const {
  return (slopes_.above - slopes_.below) * felt_[surface];
}

void TwoLayerNetwork::InMode::set_field(Index unit, const ConstVectorRef& w,
                                        const std::vector<Index>& surfaces, Vector& out) const {
  out.setZero();
  for (Index o = 0; o < net_.outputs_; ++o)
    out -=
        (net_.output_scale_ * weights_[o]) * G_.row(unit).segment(o * X_.cols() + first_, size_).transpose();
  for (const Index i : surfaces) {
    const double excess = slope_(sample(i), unit) - slopes_.below;
    if (excess != 0.0) out += excess * felt_[i] * normals_.col(i);
  }
  if (push_.size() == 0) return;
  sliding_.get(w, unit, own_);
  out -= decay_factor() * push_.cwiseProduct(own_);
}

void TwoLayerNetwork::InMode::read_inner(const ConstVectorRef& w, Matrix& Y) const {
  const Index m = net_.width_, p = net_.inputs_;
  Y.resize(m, X_.cols());
  Y.leftCols(p) = Eigen::Map<const Matrix>(w.data() + net_.V_begin(), p, m).transpose();
  if (net_.inner_bias_) Y.col(p) = w.segment(net_.b_begin(), m);
}

void TwoLayerNetwork::InMode::forward(const ConstVectorRef& w, const Matrix& Y, VectorRef out) const {
  M_.setZero(net_.width_, net_.outputs_ * X_.cols());
  add_products(w.head(net_.V_begin()), Y);
  put_through(out);
  out -= net_.train_.y;
  net_.add_output_bias(w, out);
}

void TwoLayerNetwork::InMode::add_products(const ConstVectorRef& u, const Matrix& Y) const {
  for (Index o = 0; o < net_.outputs_; ++o)
    M_.middleCols(o * Y.cols(), Y.cols()) += of_output(u, o).asDiagonal() * Y;
}

void TwoLayerNetwork::InMode::put_through(VectorRef out) const {
  SM_.resize(slope_.rows(), M_.cols());
  multiply(slope_, M_, SM_);
  for (Index o = 0; o < net_.outputs_; ++o)
    put_row_sums(SM_.middleCols(o * X_.cols(), X_.cols()), X_, o, out);
}

void TwoLayerNetwork::InMode::gather(const ConstVectorRef& q) const {
  qX_.resize(X_.rows(), net_.outputs_ * X_.cols());
  for (Index o = 0; o < net_.outputs_; ++o)
    qX_.middleCols(o * X_.cols(), X_.cols()) = of_output(q, o).asDiagonal() * X_;
  G_.resize(slope_.cols(), qX_.cols());
  multiply_tn(slope_, qX_, G_);
}

void TwoLayerNetwork::InMode::write(const ConstVectorRef& u, const Matrix& Y, VectorRef out) const {
  const Index m = net_.width_, p = net_.inputs_, size = Y.cols();
  VectorRef outer = out.head(net_.V_begin());
  inner_slopes_.setZero(m, size);
  for (Index o = 0; o < net_.outputs_; ++o) {
    const auto G = G_.middleCols(o * size, size);
    put_row_sums(G, Y, o, outer);
    inner_slopes_ += of_output(u, o).asDiagonal() * G;
  }
  inner_slopes_ *= net_.output_scale_;
  Eigen::Map<Matrix>(out.data() + net_.V_begin(), p, m) = inner_slopes_.leftCols(p).transpose();
  if (net_.inner_bias_) out.segment(net_.b_begin(), m) = inner_slopes_.col(p);
  if (net_.output_bias_) out.tail(net_.outputs_).setZero();
}

void TwoLayerNetwork::InMode::pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& Y,
                                        VectorRef out) const {
  gather(q);
  write(u, Y, out);
  net_.pull_output_bias(q, out);
  project(out);
}

bool TwoLayerNetwork::has_kinks() const { return activation_.slopes().has_value(); }

std::shared_ptr<Piece> TwoLayerNetwork::make_piece(const Decay& decay, const Frozen& frozen) const {
  if (!has_kinks()) throw std::logic_error("this activation has no kink");
  decay.require_size(num_params());
  return std::make_shared<InMode>(*this, *activation_.slopes(), decay, frozen);
}

}  // namespace grokflow
