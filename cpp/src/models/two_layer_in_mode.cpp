// The linearisation of a two-layer network in one mode (two_layer_piece.hpp). Where neuron j slides, with
// X~_j^T = Q_j R_j its projector is Pi_j = I - Q_j Q_j^T, and
//
//   K = s^2 (A A^T + (B B^T) o (X X^T + 1) - C C^T) [+ 1],    A = S o Z, B = S diag(u),
//   C = [diag(B_j) X~ Q_j, all sliding j].
//
// Of V alone, or b alone, the kernel is that of the velocities that decay at their rate: on a neuron that slides these
// are the ones with b_j = 0, and none (sliding_neurons.hpp).
#include <utility>

#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"
#include "two_layer_piece.hpp"

namespace grokflow {

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

  const Vector* scaled_residual() const override { return &g_; }

  void vjp(const ConstVectorRef& q, VectorRef out) const override { piece_.pull_back(q, u_, Y_, out); }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index m = net_.width_, b = net_.b_begin(), a = net_.inner_end(), d = num_params();
    for (const Index edge : {begin, end})
      if (edge != 0 && edge != m && edge != b && edge != a && edge != d)
        return Linearization::gram(begin, end, K);
    const bool has_V = begin <= m && b <= end, has_b = net_.inner_bias_ && begin <= b && a <= end;
    const bool whole = has_V && has_b == net_.inner_bias_;
    if (!whole && (has_V || has_b) && !piece_.slants()) return Linearization::gram(begin, end, K);
    K.setZero();
    if (begin == 0) {
      AB_.resize(num_residuals(), m);
      multiply_nt(piece_.X_, Y_, AB_);
      AB_.array() *= piece_.slope_.array();
      add_gram(AB_, K);
    }
    if (has_V || has_b) {
      AB_ = piece_.slope_ * u_.asDiagonal();
      if (!has_V)
        for (const SlidingNeuron& slid : piece_.sliding_) AB_.col(slid.unit).setZero();
      BB_.setZero();
      add_gram(AB_, BB_);
      if (has_V) K += BB_.cwiseProduct(net_.input_kernel());
      if (has_b) K += BB_;
      if (has_V && piece_.num_sliding() > 0) subtract_slid(whole, K);
    }
    K *= net_.output_scale_ * net_.output_scale_;
    if (a < d && end == d) K.array() += 1.0;
    mirror_lower(K);
  }

  void jvp_slants(const Decay::Slants& slants, MatrixRef out) const override {
    Index k = 0;
    for (const SlidingNeuron& slid : piece_.sliding_) {
      if (!slid.slants) continue;
      apply(piece_.X_, slants[k].e, out.col(k), net_.output_scale_ * u_[slid.unit]);
      out.col(k++).array() *= piece_.slope_.col(slid.unit).array();
    }
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    hvp_through(g_, [c = piece_.scale()](VectorRef h) { h *= c; }, v, out);
  }

  /// J^T S J v, and the curvature of the residuals: with G at g, s (rowsum(dY o G), diag(du) G).
  void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                   VectorRef out) const override {
    params_ = v;
    piece_.project(params_);
    push(h_);
    S(h_);
    vjp(h_, out);
    const Index m = net_.width_;
    piece_.gather(g);
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

  /// K <- K - C C^T, its lower triangle; of all inner weights or of V alone.
  void subtract_slid(bool whole, MatrixRef K) const {
    C_.setZero(num_residuals(), piece_.num_sliding());
    Index column = 0;
    for (const SlidingNeuron& slid : piece_.sliding_) {
      const Matrix& Q = whole ? slid.inputs.Q : slid.flat;
      auto C = C_.middleCols(column, Q.cols());
      multiply(piece_.X_, Q, C);
      for (Index k = 0; k < C.cols(); ++k)
        C.col(k).array() *= u_[slid.unit] * piece_.slope_.col(slid.unit).array();
      column += Q.cols();
    }
    add_gram(C_, K, -1.0);
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

}  // namespace grokflow
