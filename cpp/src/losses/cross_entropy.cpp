// Softmax cross-entropy. With j the output of largest p and e_i = exp(f_i - f_j), the sum of all e but e_j = 1
// is known without cancellation, and with it 1 - p_j:
//
//   l = sum_i q_i (f_j - f_i) + log1p(sum_{i != j} e_i),     g_i = p_i (1 - q_i) - q_i (1 - p_i).
//
// S = diag(p) - p p^T = R (I - r r^T) R with r = sqrt(p), R = diag(r). The Householder reflection
// H = I - u u^T / (1 + r_j), u = r + e_j, takes r to -e_j; the other columns Q of H give Q Q^T = I - r r^T. So
//
//   B = R Q,    B^T x = Q^T R x,    rho = Q^T (g / r),
//
// and r is all that is kept.
#include <algorithm>
#include <cmath>
#include <utility>

#include "grokflow/loss.hpp"

namespace grokflow {
namespace {

constexpr double kSmallestExponent = -700.0;  // of r: it stays a normal number, by which g may be divided

class CrossEntropy final : public Loss {
 public:
  CrossEntropy(Vector targets, Index outputs)
      : Loss(targets.size() / outputs, outputs, outputs - 1),
        targets_(std::move(targets)),
        attained_((targets_.array() > 0.0).all()),
        certain_((targets_.array() == 0.0 || targets_.array() == 1.0).all()) {}

  bool attained() const override { return attained_; }
  bool is_certain() const override { return certain_; }
  Index factor_size() const override { return num_outputs(); }

  double value(const ConstVectorRef& f) const override {
    double sum = 0.0;
    for (Index i = 0; i < samples_; ++i) {
      const double* fi = f.data() + i * outputs_;
      const Index top = largest(fi);
      double rest = 0.0;
      for (Index k = 0; k < outputs_; ++k) {
        const double below = fi[top] - fi[k];
        sum += target(i, k) * below;
        if (k != top) rest += std::exp(-below);
      }
      sum += std::log1p(rest);
    }
    return sum;
  }

  void gradient(VectorRef f) const override {
    for (Index i = 0; i < samples_; ++i) {
      double* fi = f.data() + i * outputs_;
      const Index top = largest(fi);
      const double most = fi[top];
      double rest = 0.0;
      for (Index k = 0; k < outputs_; ++k) {
        fi[k] = std::exp(fi[k] - most);
        if (k != top) rest += fi[k];
      }
      for (Index k = 0; k < outputs_; ++k) fi[k] = slope(i, k, fi[k] / (1.0 + rest), rest, k == top);
    }
  }

  bool faint_gradient(VectorRef f) const override {
    bool any = false;
    for (Index i = 0; i < samples_; ++i) {
      double* fi = f.data() + i * outputs_;
      const Index top = largest(fi);
      const double most = fi[top];
      double sum = 0.0;
      for (Index k = 0; k < outputs_; ++k) {
        fi[k] = is_faint(i, k, fi[k] - most) ? std::exp(fi[k] - most) : 0.0;
        sum += fi[k];
      }
      fi[top] -= sum;
      any = any || sum > 0.0;
    }
    return any;
  }

  /// The others feel differences between the outputs that are not faint.
  void felt_by_others(const ConstVectorRef& f, VectorRef x) const override {
    for (Index i = 0; i < samples_; ++i) {
      const double* fi = f.data() + i * outputs_;
      double* xi = x.data() + i * outputs_;
      const double most = fi[largest(fi)];
      double sum = 0.0, count = 0.0;
      for (Index k = 0; k < outputs_; ++k)
        if (!is_faint(i, k, fi[k] - most)) sum += xi[k], count += 1.0;
      for (Index k = 0; k < outputs_; ++k) xi[k] = is_faint(i, k, fi[k] - most) ? 0.0 : xi[k] - sum / count;
    }
  }

  bool push_faint(const ConstVectorRef& f, const ConstVectorRef& x, double slack, double push,
                  VectorRef force) const override {
    bool any = false;
    for (Index i = 0; i < samples_; ++i) {
      const double *fi = f.data() + i * outputs_, *xi = x.data() + i * outputs_;
      const Index top = largest(fi);
      for (Index k = 0; k < outputs_; ++k) {
        if (!is_faint(i, k, fi[k] - fi[top]) || xi[k] - xi[top] >= -slack) continue;
        force[i * outputs_ + k] += push;
        force[i * outputs_ + top] -= push;
        any = true;
      }
    }
    return any;
  }

  void factor(const ConstVectorRef& f, VectorRef rho, VectorRef B) const override {
    for (Index i = 0; i < samples_; ++i) {
      const double* fi = f.data() + i * outputs_;
      double* root = B.data() + i * outputs_;
      const Index top = largest(fi);
      double rest = 0.0;
      for (Index k = 0; k < outputs_; ++k) {
        root[k] = std::exp(std::max(0.5 * (fi[k] - fi[top]), kSmallestExponent));
        if (k != top) rest += root[k] * root[k];
      }
      const double size = std::sqrt(1.0 + rest);
      for (Index k = 0; k < outputs_; ++k) root[k] /= size;
      const auto scaled = [&](Index k) { return slope(i, k, root[k] * root[k], rest, k == top) / root[k]; };
      reflect_transposed(root, scaled, rho.data() + i * rank_);
    }
  }

  void apply(const ConstVectorRef& B, const ConstVectorRef& u, VectorRef x) const override {
    for (Index i = 0; i < samples_; ++i) {
      const double *root = B.data() + i * outputs_, *ui = u.data() + i * rank_;
      double* xi = x.data() + i * outputs_;
      const Index top = largest(root);
      double along = 0.0;
      for (Index k = 0, slot = 0; k < outputs_; ++k) {
        xi[k] = k == top ? 0.0 : ui[slot++];
        along += root[k] * xi[k];
      }
      along /= 1.0 + root[top];
      for (Index k = 0; k < outputs_; ++k) xi[k] = root[k] * (xi[k] - along * (root[k] + (k == top)));
    }
  }

  void apply_transposed(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    for (Index i = 0; i < samples_; ++i) {
      const double *root = B.data() + i * outputs_, *xi = x.data() + i * outputs_;
      reflect_transposed(root, [&](Index k) { return root[k] * xi[k]; }, u.data() + i * rank_);
    }
  }

  void solve(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    for (Index i = 0; i < samples_; ++i) {
      const double *root = B.data() + i * outputs_, *xi = x.data() + i * outputs_;
      reflect_transposed(root, [&](Index k) { return xi[k] / root[k]; }, u.data() + i * rank_);
    }
  }

 private:
  double target(Index i, Index k) const { return targets_[i * outputs_ + k]; }

  /// By its output over the largest, log p but for at most log k.
  bool is_faint(Index i, Index k, double below) const {
    return target(i, k) == 0.0 && std::exp(below) < kFaint;
  }

  Index largest(const double* values) const { return std::max_element(values, values + outputs_) - values; }

  /// g for this p, where the e of all outputs but that of the largest p sum up to `rest`.
  double slope(Index i, Index k, double p, double rest, bool is_largest) const {
    const double q = target(i, k), others = is_largest ? rest / (1.0 + rest) : 1.0 - p;
    return p * (1.0 - q) - q * others;
  }

  /// out = Q^T x for the x(k), k < outputs.
  template <class X>
  void reflect_transposed(const double* root, X&& x, double* out) const {
    const Index top = largest(root);
    double along = x(top);
    for (Index k = 0; k < outputs_; ++k) along += root[k] * x(k);
    along /= 1.0 + root[top];
    for (Index k = 0; k < outputs_; ++k)
      if (k != top) *out++ = x(k) - along * root[k];
  }

  Vector targets_;
  bool attained_, certain_;
};

}  // namespace

std::unique_ptr<Loss> cross_entropy(Vector targets, Index outputs) {
  return std::make_unique<CrossEntropy>(std::move(targets), outputs);
}

}  // namespace grokflow
