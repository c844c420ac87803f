#include "models/few_samples.hpp"

#include <algorithm>

namespace grokflow {
namespace {

using Eight = Eigen::Array<double, 8, 1>;

/// The passes for this many eights.
template <int eights>
class Passes {
 public:
  using Neurons = FewSamples::Neurons;
  template <class Number>
  using Part = FewSamples::Part<Number>;

  explicit Passes(const Matrix& X) : X_(X), n_(X.rows()), p_(X.cols()) {}

  void push(const Neurons& at, const Part<const double>& v, double* out) const {
    Eight sum[eights], z[eights];
    for (Eight& part : sum) part.setZero();
    for (Index j = 0; j < at.count; ++j) {
      preactivate(v, j, z);
      for (int k = 0; k < eights; ++k)
        sum[k] += at.u[j] * eight(at.A1, j, k) * z[k] + v.u[j] * eight(at.A, j, k);
    }
    for (int k = 0; k < eights; ++k) Eigen::Map<Eight>(out + begin(k)) = sum[k];
  }

  void pull(const Neurons& at, double s, const double* q, const Part<double>& out) const {
    Eight own[eights], e[eights];
    take(q, own);
    for (Index j = 0; j < at.count; ++j) {
      Eight outer = Eight::Zero();
      for (int k = 0; k < eights; ++k) {
        outer += eight(at.A, j, k) * own[k];
        e[k] = (s * at.u[j]) * eight(at.A1, j, k) * own[k];
      }
      out.u[j] = s * outer.sum();
      collect(e, j, out);
    }
  }

  void bend(const Neurons& at, double s, const double* g, const Part<const double>& v,
            const Part<double>& out) const {
    Eight own[eights], z[eights];
    take(g, own);
    for (Index j = 0; j < at.count; ++j) {
      preactivate(v, j, z);
      Eight outer = Eight::Zero();
      for (int k = 0; k < eights; ++k) {
        const Eight slope = eight(at.A1, j, k) * own[k];
        outer += slope * z[k];
        z[k] = (s * v.u[j]) * slope + (s * at.u[j]) * eight(at.A2, j, k) * z[k] * own[k];
      }
      out.u[j] = s * outer.sum();
      collect(z, j, out);
    }
  }

 private:
  Index begin(int k) const { return std::min<Index>(8 * k, n_ - 8); }

  Eigen::Map<const Eight> eight(const double* of_neurons, Index j, int k) const {
    return Eigen::Map<const Eight>(of_neurons + j * n_ + begin(k));
  }

  /// z = X V_j + b_j
  void preactivate(const Part<const double>& v, Index j, Eight* z) const {
    for (int k = 0; k < eights; ++k) z[k].setConstant(v.b ? v.b[j] : 0.0);
    for (Index i = 0; i < p_; ++i) {
      const double weight = v.V[j * p_ + i];
      for (int k = 0; k < eights; ++k) z[k] += weight * eight(X_.data(), i, k);
    }
  }

  /// V_j = X^T e, b_j = 1^T e
  void collect(const Eight* e, Index j, const Part<double>& out) const {
    for (Index i = 0; i < p_; ++i) {
      Eight sum = Eight::Zero();
      for (int k = 0; k < eights; ++k) sum += eight(X_.data(), i, k) * e[k];
      out.V[j * p_ + i] = sum.sum();
    }
    if (!out.b) return;
    Eight sum = Eight::Zero();
    for (int k = 0; k < eights; ++k) sum += e[k];
    out.b[j] = sum.sum();
  }

  /// q by eights, what two of them share in the first alone.
  void take(const double* q, Eight* own) const {
    for (int k = 0; k < eights; ++k) own[k] = Eigen::Map<const Eight>(q + begin(k));
    own[eights - 1].head(8 * eights - n_).setZero();
  }

  const Matrix& X_;
  Index n_, p_;
};

template <int eights = 1, class Work>
void with_passes(const Matrix& X, Work&& work) {
  if constexpr (8 * eights < FewSamples::kMost) {
    if (X.rows() > 8 * eights) return with_passes<eights + 1>(X, work);
  }
  work(Passes<eights>(X));
}

}  // namespace

void FewSamples::push(const Neurons& at, const Part<const double>& v, double* out) const {
  with_passes(X_, [&](const auto& passes) { passes.push(at, v, out); });
}

void FewSamples::pull(const Neurons& at, double s, const double* q, const Part<double>& out) const {
  with_passes(X_, [&](const auto& passes) { passes.pull(at, s, q, out); });
}

void FewSamples::bend(const Neurons& at, double s, const double* g, const Part<const double>& v,
                      const Part<double>& out) const {
  with_passes(X_, [&](const auto& passes) { passes.bend(at, s, g, v, out); });
}

}  // namespace grokflow
