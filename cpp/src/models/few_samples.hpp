// Products of a two-layer network with one output for few samples.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// One neuron after another, its samples in registers: products of matrices that are this small wait for their
/// packing. Samples are taken by eights, the last of which overlap where their number is no multiple.
class FewSamples {
 public:
  static constexpr Index kLeast = 8, kMost = 64;
  static constexpr Index kMostInputs = 32;  ///< beyond, X leaves the first cache

  /// Whether so many samples, with so many inputs and outputs each, are few.
  static bool serve(Index samples, Index inputs, Index outputs) {
    return outputs == 1 && kLeast <= samples && samples <= kMost && inputs <= kMostInputs;
  }

  /// Some neurons at a point: act, act' and act'' at their samples, one neuron after another, and their weights.
  struct Neurons {
    Index count;
    const double *A, *A1, *A2, *u;
  };
  /// Their part of a direction, or of a gradient; b is null if there are no biases.
  template <class Number>
  struct Part {
    Number *u, *V, *b;
  };

  /// Of X (n x p), which must outlive it.
  explicit FewSamples(const Matrix& X) : X_(X) {}

  /// out (n) = sum_j du_j act_j + u_j act'_j (X dV_j + db_j)
  void push(const Neurons& at, const Part<const double>& v, double* out) const;
  /// out = s J^T q
  void pull(const Neurons& at, double s, const double* q, const Part<double>& out) const;
  /// out = s sum_i g_i Hess f_i v
  void bend(const Neurons& at, double s, const double* g, const Part<const double>& v,
            const Part<double>& out) const;

 private:
  const Matrix& X_;
};

}  // namespace grokflow
