// A program of one's own: a problem that the library does not know, its flow, and a record of its energy.
#include <cstdio>

#include "grokflow/gradient_flow.hpp"
#include "grokflow/record.hpp"

using namespace grokflow;

struct Chain final : Problem {  // r_i = w_i w_{i+1} - y_i
  struct At final : Linearization {
    explicit At(const ConstVectorRef& w) : Linearization(w.size(), w.size() - 1), w(w), m(w.size() - 1) {}
    void jvp(const ConstVectorRef& v, VectorRef out) const override {
      out = w.head(m).cwiseProduct(v.tail(m)) + w.tail(m).cwiseProduct(v.head(m));
    }
    void vjp(const ConstVectorRef& u, VectorRef out) const override {
      out.setZero();
      out.tail(m) += w.head(m).cwiseProduct(u);
      out.head(m) += w.tail(m).cwiseProduct(u);
    }
    Vector w;
    Index m;
  };
  explicit Chain(const Vector& y) : Problem(y.size() + 1, y.size(), 1.0), y(y) {}
  void residual(const ConstVectorRef& w, VectorRef out) const override {
    out = w.head(y.size()).cwiseProduct(w.tail(y.size())) - y;
  }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override {
    lin = std::make_unique<At>(w);
  }
  Vector y;
};

int main() {
  const double lam = 1e-3;
  const auto problem = std::make_shared<Chain>(Vector::LinSpaced(20, 0.5, 1.5));
  GradientFlow flow(problem, Decay(21, lam));
  Integrator integrator(flow, make_bdf(flow), Vector::LinSpaced(21, 0.1, 3.0), 0.0, 10.0 / lam);
  const auto energy = [&](double, const ConstVectorRef& w, VectorRef out) {
    out[0] = problem->loss(w) + 0.5 * lam * w.squaredNorm();  // its gradient drives the flow, so it falls
  };
  Recorder recorder(21, {{"energy", 0, energy}}, /*keep_states=*/false, SampleTimes::log());
  Run run(integrator, recorder);
  while (run.step() == Status::running) {
  }
  const std::vector<double>& values = recorder.values(0);
  bool falls = integrator.status() == Status::finished && values.size() > 50;
  for (std::size_t i = 1; i < values.size(); ++i) falls = falls && values[i] <= values[i - 1] * (1.0 + 1e-6);
  std::printf("energy %.6g to %.6g, ||w||^2 = %.6g\n", values.front(), values.back(), run.w().squaredNorm());
  return falls ? 0 : 1;
}
