// The neurons of a two-layer network that slide, and the projector on what keeps them on their surfaces.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "numerics/orthogonal.hpp"

namespace grokflow {

/// A neuron j that slides on the surfaces <x~_i, y_j> = 0 with these i, and the Q R of their inputs, X~_j^T.
struct SlidingNeuron {
  Index unit;
  std::vector<Index> surfaces;
  ThinQr inputs;
};

/// In order of the units. The inner weights y_j = (v_j, b_j) lie in w = [u, V, b(, a)].
class SlidingNeurons {
 public:
  SlidingNeurons(Index width, Index inputs) : width_(width), inputs_(inputs), y_(inputs + 1) {}

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
    if (surfaces.empty()) return;
    num_surfaces_ += static_cast<Index>(surfaces.size());
    neurons_.insert(place, {unit, std::move(surfaces), ThinQr(inputs)});
  }

  /// v <- Pi v: y_j <- y_j - Q Q^T y_j for all that slide.
  void project(VectorRef v) const {
    for (const SlidingNeuron& neuron : neurons_) {
      get(v, neuron.unit, y_);
      for (const auto& q : neuron.inputs.Q.colwise()) y_ -= q.dot(y_) * q;
      put(v, neuron.unit, y_);
    }
  }

  /// y_j, read from and written to a vector of parameters.
  void get(const ConstVectorRef& w, Index unit, Vector& y) const {
    y.head(inputs_) = w.segment(width_ + unit * inputs_, inputs_);
    y[inputs_] = w[width_ * (1 + inputs_) + unit];
  }
  void put(VectorRef w, Index unit, const Vector& y) const {
    w.segment(width_ + unit * inputs_, inputs_) = y.head(inputs_);
    w[width_ * (1 + inputs_) + unit] = y[inputs_];
  }

 private:
  Index width_, inputs_;
  std::vector<SlidingNeuron> neurons_;
  Index num_surfaces_ = 0;
  mutable Vector y_;  // scratch
};

}  // namespace grokflow
