// Passes of a two-layer network over its neurons, in tiles that stay in the cache.
#pragma once

#include <algorithm>

#include "grokflow/models/two_layer_network.hpp"
#include "models/few_samples.hpp"
#include "numerics/parallel.hpp"
#include "numerics/products.hpp"

namespace grokflow {

using MatrixMap = Eigen::Map<Matrix>;
using ConstMatrixMap = Eigen::Map<const Matrix>;

/// The price of an activation, in multiplications.
inline constexpr Index kActivation = 16;

/// out_i = <q_i, u>, of the numbers q_i that each sample has, one for each output.
inline void weigh(const ConstVectorRef& q, const ConstVectorRef& u, VectorRef out) {
  apply_transposed(ConstMatrixMap(q.data(), u.size(), out.size()), u, out);
}

template <class Work>
void TwoLayerNetwork::for_neurons(Index samples, Work&& work) const {
  const Index width = tile_width(samples);
  const double flops =
      2.0 * static_cast<double>(samples * width_) * static_cast<double>(inputs_ + kActivation);
  parallel_for((width_ + width - 1) / width, flops, [&](Index number) {
    const Index begin = number * width, count = std::min(width, width_ - begin);
    const auto memory = buffer();
    work(Neurons{begin, count, number, memory->matrix(samples, count)});
  });
}

template <class Work>
void TwoLayerNetwork::sum_over_neurons(VectorRef out, Work&& work) const {
  const Index samples = out.size() / outputs_, width = tile_width(samples);
  const auto memory = buffer();
  MatrixMap parts = memory->matrix(out.size(), (width_ + width - 1) / width);
  for_neurons(samples,
              [&](Neurons tile) { work(tile, MatrixMap(parts.col(tile.number).data(), outputs_, samples)); });
  out = parts.col(0);
  for (Index k = 1; k < parts.cols(); ++k) out += parts.col(k);
}

template <class Out>
void TwoLayerNetwork::preactivation(const ConstVectorRef& w, const Matrix& X, Index j, Index count,
                                    Out&& Z) const {
  multiply(X, ConstMatrixMap(w.data() + V_begin() + j * inputs_, inputs_, count), Z);
  if (inner_bias_) Z.rowwise() += w.segment(b_begin() + j, count).transpose();
}

template <class Number>
auto TwoLayerNetwork::few_of(Number* w, Index j) const {
  return FewSamples::Part<Number>{w + j, w + V_begin() + j * inputs_,
                                  inner_bias_ ? w + b_begin() + j : nullptr};
}

}  // namespace grokflow
