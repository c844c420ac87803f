// A two-layer network in one mode: act(z_ij) = slope_ij z_ij with a matrix of slopes that stays while the
// mode does. With x~_i = (x_i, 1) the rows of X~, y_j = (v_j, b_j) those of Y, and S = (slope_ij),
//
//   f_i = s <x~_i, (S M)_i>,  M = diag(u) Y;       J^T q = s (rowsum(Y o G), diag(u) G),  G = S^T diag(q) X~,
//
// and J v is f with M = diag(du) Y + diag(u) dY: each takes one product with S, and nothing else of size
// n x m. Of several outputs, each has an M and a G, side by side.
//
// Without inner biases x~_i = x_i and y_j = v_j. A sample at 0 has no surface then: z_ij = 0 always.
//
// The surface i of neuron j is z_ij = <y_j, x~_i> = 0. Samples with the same input share a surface, on which
// their forces add up. Where a neuron slides on some surfaces its slope is put to 0, for z is 0, and y_j
// moves orthogonally to their inputs X~_j.
//
// The multipliers of its surfaces solve X~_j X~_j^T q = X~_j field_j, q_i = theta_i jump_i, with the field on
// the side off. Decay at one rate has no part in it, since X~_j y_j = 0, and of one output all are proportional to
// u_j, the gain; of several, jump_ij is proportional to <u_j, q_i>. Where b_j decays faster than v_j, by `skew`, it
// pushes z_ij by -skew b_j.
//
// Where V or b is frozen, y_j is the other one alone, of which a sample that does not feel it (x_i = 0 with b frozen)
// has no surface: its side stays. What is frozen adds an offset to the surfaces, z_ij = <y_j, normal_i> + offset_ij,
// and decay of y_j pushes z_ij, to the offset. On the surfaces y_j = p_j + Pi_j y_j, with p_j their point next to 0,
// which does not decay: what does has the slope -D p_j, the tilt.
#pragma once

#include <vector>

#include "grokflow/models/two_layer_network.hpp"
#include "sliding_neurons.hpp"

namespace grokflow {

class TwoLayerNetwork::InMode final : public Piece {
 public:
  InMode(const TwoLayerNetwork& net, Activation::Slopes slopes, const Decay& decay, const Frozen& frozen);

  bool has_hvp() const override { return true; }
  bool has_hvp_through() const override { return true; }
  bool has_forces() const override { return true; }
  Index num_units() const override { return net_.width_; }
  Index num_surfaces() const override { return static_cast<Index>(samples_.size()); }
  Index num_sliding() const override { return sliding_.num_surfaces(); }
  std::vector<Block> blocks() const override { return net_.blocks(); }

  Cost cost() const override { return net_.cost(); }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;

  void enter(Index unit, const signed char* sides) override;
  void distances(const ConstVectorRef& w, MatrixRef out) const override;
  void sizes(const ConstVectorRef& w, VectorRef out) const override;
  void gains(const ConstVectorRef& w, VectorRef out) const override;
  void project(VectorRef v) const override { sliding_.project(v); }
  void hold(VectorRef w) const override {
    project(w);
    if (fixed_.size() > 0) w += fixed_;
  }
  std::shared_ptr<const Decay::Slants> slants() const override { return sliding_.slants(); }
  std::shared_ptr<const Vector> tilt() const override { return tilt_; }
  void lean(const Decay& decay) override { lean_ = pushing(decay); }
  void multipliers(const ConstVectorRef& signs, const ConstVectorRef& w, const ConstVectorRef& force,
                   VectorRef low, VectorRef high) const override;
  void kinks(double sign, const ConstVectorRef& w, const ConstVectorRef& force, Index unit,
             const std::vector<Index>& surfaces, Kinks& out) const override;
  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const override;
  Index sample(Index surface) const override { return samples_[surface]; }
  std::string describe(Index unit, const std::vector<Index>& surfaces) const override;

 private:
  class At;  // two_layer_in_mode.cpp

  void find_surfaces();
  /// What V and b that are frozen add to pre-activations.
  void freeze(const Frozen& frozen);
  /// The rates of y, as far as they push it off its surfaces; empty if they do not.
  Vector pushing(const Decay& decay) const;
  /// The part of X~ that multiplies y.
  auto trained(const Matrix& X) const { return X.middleCols(first_, size_); }
  /// The normals of these surfaces.
  Matrix columns(const std::vector<Index>& surfaces) const;
  /// p_j, of the unit on these surfaces: Q is an orthonormal basis of their normals.
  Vector point_on(Index unit, const std::vector<Index>& surfaces, const Matrix& Q) const;
  /// The forces on each surface, for `set_unit`.
  void add_up(const ConstVectorRef& force) const;
  /// Of the unit, with a gain of this sign: what each surface feels, for `jump` and `set_field`.
  void set_unit(double sign, const ConstVectorRef& w, Index unit) const;
  double jump(Index surface) const;
  /// With these surfaces off, after `gather`.
  void set_field(Index unit, const ConstVectorRef& w, const std::vector<Index>& surfaces, Vector& out) const;

  /// Y at w, for a direction in place of w dY.
  void read_inner(const ConstVectorRef& w, Matrix& Y) const;
  /// r at w, whose inner weights are Y.
  void forward(const ConstVectorRef& w, const Matrix& Y, VectorRef out) const;
  /// M += diag(u) Y for these u
  void add_products(const ConstVectorRef& u, const Matrix& Y) const;
  /// out_i = s <x~_i, (S M)_i>
  void put_through(VectorRef out) const;
  /// G = S^T diag(q) X~
  void gather(const ConstVectorRef& q) const;
  /// out = s (rowsum(Y o G), diag(u) G), and 0 for a.
  void write(const ConstVectorRef& u, const Matrix& Y, VectorRef out) const;
  /// out = Pi J^T q at the point with these u and Y.
  void pull_back(const ConstVectorRef& q, const ConstVectorRef& u, const Matrix& Y, VectorRef out) const;
  /// What output o has in numbers that lie side by side: copied, for what has a stride is not vectorised.
  Eigen::Map<const Vector> of_output(const ConstVectorRef& numbers, Index o) const {
    auto copied = numbers_.matrix(numbers.size() / net_.outputs_, 1);
    copied = Eigen::Map<const Vector, 0, Eigen::InnerStride<>>(numbers.data() + o, copied.size(),
                                                               Eigen::InnerStride<>(net_.outputs_));
    return {copied.data(), copied.size()};
  }
  /// Its place there takes s rowsum(A o B).
  void put_row_sums(const ConstMatrixRef& A, const ConstMatrixRef& B, Index o, VectorRef numbers) const {
    auto sums = numbers_.matrix(A.rows(), 1);
    sums.setZero();
    for (Index c = 0; c < A.cols(); ++c) sums += A.col(c).cwiseProduct(B.col(c));
    Eigen::Map<Vector, 0, Eigen::InnerStride<>>(
        numbers.data() + o, sums.size(), Eigen::InnerStride<>(net_.outputs_)) = net_.output_scale_ * sums;
  }

  const TwoLayerNetwork& net_;
  Activation::Slopes slopes_;
  bool V_, b_;          // whether they are trained,
  Index first_, size_;  // and where y begins in (v, b), and its size
  std::vector<Index> samples_,
      surface_of_;      // the first sample on a surface, and the surface of a sample, or -1
  Matrix X_;            // X~: x~_i, one row for each sample,
  Matrix normals_;      // and of its part that multiplies y one column for each surface
  Vector lengths_;      // of these
  Matrix offsets_;      // surfaces x units; empty if they are 0
  Vector push_, lean_;  // what pushes, of the decay, and of what is meant to be small
  Matrix slope_;        // n x m
  SlidingNeurons sliding_;
  Vector fixed_;                  // p_j of all that slide; empty without offsets
  std::shared_ptr<Vector> tilt_;  // null if there is none
  // Scratch: a piece serves one run. M, S M, diag(q) X~ and G of all outputs side by side.
  mutable Matrix Y_, M_, SM_, qX_, G_, inner_slopes_;
  mutable Buffer numbers_;
  mutable Matrix forces_;                                // outputs x surfaces
  mutable Vector force_, weights_, felt_, inner_, own_;  // u_j, or its sign; <u_j, forces>
};

}  // namespace grokflow
