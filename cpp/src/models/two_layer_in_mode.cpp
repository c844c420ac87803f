// The linearisation of a two-layer network in one mode (two_layer_piece.hpp). Where neuron j slides, with
// X~_j^T = Q_j R_j its projector is Pi_j = I - Q_j Q_j^T, and
//
//   K = s^2 (A A^T + (B B^T) o (X X^T + 1) - C C^T) [+ 1],    A = S o Z, B = S diag(u),
//   C = [diag(B_j) X~ Q_j, all sliding j],
//
// where B and C have a row for each output of each sample, and A A^T and 1 count for pairs of the same output.
//
// Where V and b are trained, at different rates, the kernel of V alone, or b alone, is that of the velocities that decay
// at their rate: on a neuron that slides these are the ones with b_j = 0, and none (sliding_neurons.hpp).
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
    AA_.resize(piece.X_.rows(), piece.X_.rows());
    inner_.resize(piece.X_.rows(), piece.X_.rows());
  }

  void refill(const ConstVectorRef& w) {
    u_ = w.head(net_.V_begin());
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
    const Index m = net_.width_, V = net_.V_begin(), b = net_.b_begin(), a = net_.inner_end(),
                d = num_params();
    for (const Index edge : {begin, end})
      if (edge != 0 && edge != V && edge != b && edge != a && edge != d)
        return Linearization::gram(begin, end, K);
    const bool has_V = begin <= V && b <= end, has_b = net_.inner_bias_ && begin <= b && a <= end;
    const bool whole = has_V == piece_.V_ && has_b == piece_.b_;
    if (!whole && (has_V || has_b) && !piece_.slants()) return Linearization::gram(begin, end, K);
    const double s2 = net_.output_scale_ * net_.output_scale_;
    K.setZero();
    AA_.setConstant(a < d && end == d ? 1.0 : 0.0);
    if (begin == 0) {
      A_.resize(AA_.rows(), m);
      multiply_nt(piece_.X_, Y_, A_);
      A_.array() *= piece_.slope_.array();
      add_gram(A_, AA_, s2);
    }
    if (has_V || has_b) {
      B_.resize(num_residuals(), m);
      for (Index j = 0; j < m; ++j) put_rows(j, piece_.slope_.col(j), B_.col(j));
      if (!has_V)
        for (const SlidingNeuron& slid : piece_.sliding_) B_.col(slid.unit).setZero();
      add_gram(B_, K, s2);
    }
    inner_.setConstant(has_b ? 1.0 : 0.0);
    if (has_V) inner_ += net_.input_kernel();
    net_.combine(AA_, inner_, K);
    if (has_V && piece_.num_sliding() > 0) subtract_slid(whole, s2, K);
    mirror_lower(K);
  }

  void jvp_slants(const Decay::Slants& slants, MatrixRef out) const override {
    Index k = 0;
    for (const SlidingNeuron& slid : piece_.sliding_) {
      if (!slid.slants) continue;
      samples_.resize(piece_.X_.rows());
      apply(piece_.X_, slants[k].e, samples_, net_.output_scale_);
      samples_.array() *= piece_.slope_.col(slid.unit).array();
      put_rows(slid.unit, samples_, out.col(k++));
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
    piece_.gather(g);
    more_.resize(num_params());
    piece_.write(params_.head(net_.V_begin()), dY_, more_);
    piece_.project(more_);
    out += more_;
  }

 private:
  /// out = J v for the v in params_, and dY.
  void push(VectorRef out) const {
    piece_.read_inner(params_, dY_);
    piece_.M_.setZero(Y_.rows(), net_.outputs_ * Y_.cols());
    piece_.add_products(params_.head(net_.V_begin()), Y_);
    piece_.add_products(u_, dY_);
    piece_.put_through(out);
    net_.add_output_bias(params_, out);
  }

  /// rows_io = u_jo samples_i
  void put_rows(Index unit, const ConstVectorRef& samples, VectorRef rows) const {
    const auto u = net_.outer(u_).col(unit);
    if (u.size() == 1)
      rows = u[0] * samples;
    else
      Eigen::Map<Matrix>(rows.data(), u.size(), samples.size()) = u.lazyProduct(samples.transpose());
  }

  /// K <- K - factor C C^T, its lower triangle; of all inner weights or of V alone. The Q of all neurons lie beside each
  /// other: one by one they are small.
  void subtract_slid(bool whole, double factor, MatrixRef K) const {
    const auto basis = [whole](const SlidingNeuron& slid) -> const Matrix& {
      return whole ? slid.inputs.Q : slid.flat;
    };
    Q_.resize(piece_.size_, piece_.num_sliding());
    Index size = 0;
    for (const SlidingNeuron& slid : piece_.sliding_) {
      const Matrix& Q = basis(slid);
      Q_.middleCols(size, Q.cols()) = Q;
      size += Q.cols();
    }
    XQ_.resize(piece_.X_.rows(), Q_.cols());
    C_.resize(num_residuals(), Q_.cols());
    multiply(piece_.trained(piece_.X_), Q_.leftCols(size), XQ_.leftCols(size));
    Index column = 0;
    for (const SlidingNeuron& slid : piece_.sliding_)
      for (const Index end = column + basis(slid).cols(); column < end; ++column) {
        XQ_.col(column).array() *= piece_.slope_.col(slid.unit).array();
        put_rows(slid.unit, XQ_.col(column), C_.col(column));
      }
    add_gram(C_.leftCols(size), K, -factor);
  }

  const InMode& piece_;
  const TwoLayerNetwork& net_;
  Matrix Y_;
  Vector u_, g_;  // g = c r
  mutable Vector params_, h_, more_, samples_;
  mutable Matrix dY_, A_, B_, AA_, inner_, Q_, XQ_, C_;
};

void TwoLayerNetwork::InMode::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

}  // namespace grokflow
