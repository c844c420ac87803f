// A problem of one's own, the residual r_i = w_i w_{i+1} - y_i, and both phases of its training.
#include <cstdio>

#include "grokflow/grokflow.hpp"

using namespace grokflow;

struct Chain final : Problem {
  struct At final : Linearization {  // J = dr/dw, frozen at w
    explicit At(const ConstVectorRef& at)
        : Linearization(at.size(), at.size() - 1), w(at), n(at.size() - 1) {}
    void jvp(const ConstVectorRef& v, VectorRef out) const override {
      out = w.head(n).cwiseProduct(v.tail(n)) + w.tail(n).cwiseProduct(v.head(n));
    }
    void vjp(const ConstVectorRef& u, VectorRef out) const override {
      out.setZero();
      out.tail(n) += w.head(n).cwiseProduct(u);
      out.head(n) += w.tail(n).cwiseProduct(u);
    }
    Vector w;
    Index n;
  };
  explicit Chain(const Vector& target) : Problem(target.size() + 1, target.size(), 1.0), y(target) {}
  void residual(const ConstVectorRef& w, VectorRef out) const override {
    out = w.head(y.size()).cwiseProduct(w.tail(y.size())) - y;
  }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override {
    lin = std::make_unique<At>(w);
  }
  Vector y;
};

int main() {
  const auto problem = std::make_shared<Chain>(Vector::LinSpaced(20, 0.5, 1.5));
  const TwoPhase phases = two_phase(problem, Vector::LinSpaced(21, 0.1, 3.0), {1e-3, 1e-4});
  std::printf("%s: ||r|| = %.1e\n", to_string(phases.landing.status), phases.landing.residual_norm);
  std::printf("||w|| from %.4f to %.4f\n", phases.slow["norm"](0), phases.slow.w_end.norm());
  for (const auto& flow : phases.flows) std::printf("lam = %g: %.1e\n", flow.weight_decay, flow.distance);
  return phases.flows[1].distance < 0.2 * phases.flows[0].distance ? 0 : 1;
}
