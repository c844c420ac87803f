// The neurons of a two-layer network that slide, and the projector on what keeps them on their surfaces.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "grokflow/decay.hpp"
#include "numerics/orthogonal.hpp"

namespace grokflow {

/// A neuron j that slides on the surfaces <x~_i, y_j> = 0 with these i, and the Q R of their inputs, X~_j^T.
struct SlidingNeuron {
  Index unit;
  std::vector<Index> surfaces;
  ThinQr inputs;
  Matrix flat;          ///< an orthonormal basis of the (x_i, 0), and
  bool slants = false;  ///< whether the neuron may move along the surfaces other than orthogonally to b_j
};

/// In order of the units. The inner weights lie in w = [u, V(, b)(, a)], from `begin` on; y_j is what is trained of
/// (v_j, b_j).
///
/// If v and b decay at different rates, the velocities along the surfaces split into those with b = 0, which are
/// orthogonal to the (x_i, 0), and the part of the axis of b that is along the surfaces: its direction e_j has a rate
/// of its own (decay.hpp).
class SlidingNeurons {
 public:
  /// `V`, `b`: these are trained. `skew`: both are, at different rates.
  SlidingNeurons(Index begin, Index width, Index inputs, bool V, bool b, bool skew)
      : begin_(begin),
        width_(width),
        inputs_(inputs),
        V_(V),
        b_(b),
        slants_(skew ? std::make_shared<Decay::Slants>() : nullptr),
        y_(V * inputs + b) {}

  std::shared_ptr<const Decay::Slants> slants() const { return slants_; }

  Index num_surfaces() const { return num_surfaces_; }
  auto begin() const { return neurons_.begin(); }
  auto end() const { return neurons_.end(); }

  /// The neuron slides on these surfaces, whose inputs are independent, and on no others; on none, it does
  /// not slide.
  void set(Index unit, std::vector<Index> surfaces, const Matrix& inputs) {
    auto place = std::lower_bound(neurons_.begin(), neurons_.end(), unit,
                                  [](const SlidingNeuron& other, Index unit) { return other.unit < unit; });
    if (place != neurons_.end() && place->unit == unit) {
      num_surfaces_ -= static_cast<Index>(place->surfaces.size());
      place = neurons_.erase(place);
    }
    if (!surfaces.empty()) {
      num_surfaces_ += static_cast<Index>(surfaces.size());
      place = neurons_.insert(place, {unit, std::move(surfaces), ThinQr(inputs), {}});
      if (slants_) flatten(*place, inputs);
    }
    if (slants_) collect_slants();
  }

  /// v <- Pi v: y_j <- y_j - Q Q^T y_j for all that slide.
  void project(VectorRef v) const {
    for (const SlidingNeuron& neuron : neurons_) {
      get(v, neuron.unit, y_);
      if (neuron.inputs.Q.cols() >= y_.size())
        y_.setZero();  // pinned: round-off would be all that there is
      else
        for (const auto& q : neuron.inputs.Q.colwise()) y_ -= q.dot(y_) * q;
      put(v, neuron.unit, y_);
    }
  }

  /// y_j, read from and written to a vector of parameters.
  void get(const ConstVectorRef& w, Index unit, Vector& y) const {
    if (V_) y.head(inputs_) = w.segment(V_begin(unit), inputs_);
    if (b_) y[y.size() - 1] = w[b_begin(unit)];
  }
  void put(VectorRef w, Index unit, const Vector& y) const {
    if (V_) w.segment(V_begin(unit), inputs_) = y.head(inputs_);
    if (b_) w[b_begin(unit)] = y[y.size() - 1];
  }

 private:
  Index V_begin(Index unit) const { return begin_ + unit * inputs_; }
  Index b_begin(Index unit) const { return begin_ + width_ * inputs_ + unit; }

  void flatten(SlidingNeuron& neuron, Matrix inputs) const {
    inputs.row(inputs_).setZero();
    neuron.flat = orthonormal_range(inputs, kDependent);
    neuron.slants = direction(neuron).squaredNorm() > kDependent;
  }

  /// The part of the axis of b that is along the surfaces.
  Vector direction(const SlidingNeuron& neuron) const {
    const Matrix& Q = neuron.inputs.Q;
    return Vector::Unit(inputs_ + 1, inputs_) - Q * Q.row(inputs_).transpose();
  }

  void collect_slants() {
    slants_->clear();
    for (const SlidingNeuron& neuron : neurons_) {
      if (!neuron.slants) continue;
      const Index v = V_begin(neuron.unit), b = b_begin(neuron.unit);
      slants_->push_back({{{v, v + inputs_}, {b, b + 1}}, direction(neuron).normalized()});
    }
  }

  static constexpr double kDependent = 1e-10;  // relative length, that is none
  Index begin_, width_, inputs_;
  bool V_, b_;
  std::shared_ptr<Decay::Slants> slants_;  // in order of the neurons; null if rates do not differ
  std::vector<SlidingNeuron> neurons_;
  Index num_surfaces_ = 0;
  mutable Vector y_;  // scratch
};

}  // namespace grokflow
