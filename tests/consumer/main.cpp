// A program of one's own: a problem that the library does not know, with both phases of its flow, and a
// network with a kink.
#include <cmath>
#include <cstdio>

#include "grokflow/models/two_layer_network.hpp"
#include "grokflow/runs.hpp"
#include "grokflow/status.hpp"

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

/// How far the flow at t = s/lam is from the drift at s = 1: first order in lam.
double distance(const std::shared_ptr<Chain>& problem, const Vector& w0, const Vector& drift, double lam) {
  RunOptions options{0.0, 1.0 / lam};
  options.tolerance = Tolerance(1e-9, 1e-12);
  options.observables = {{"energy", 0, [&](double, const ConstVectorRef& w, VectorRef out) {
                            out[0] =
                                problem->loss(w) +
                                0.5 * lam * w.squaredNorm();  // its gradient drives the flow, so it falls
                          }}};
  GradientRun run(problem, w0, Decay(w0.size(), lam), options);
  if (run.advance() != Status::finished) return INFINITY;
  const std::vector<double>& energy = run.recorder().values(0);
  for (std::size_t i = 1; i < energy.size(); ++i)
    if (energy[i] > energy[i - 1] * (1.0 + 1e-6)) return INFINITY;
  return (run.w() - drift).norm();
}

bool both_phases() {
  const auto problem = std::make_shared<Chain>(Vector::LinSpaced(20, 0.5, 1.5));
  const Vector w0 = Vector::LinSpaced(21, 0.1, 3.0);

  LandingRun fast(problem, w0, {0.0, kForever});
  fast.advance();
  const Landing landing = fast.settle();
  std::printf("landing: %s, ||r|| = %.2g\n", to_string(landing.status), landing.residual_norm);

  RunOptions options{0.0, 1.0};
  options.observables = {observe(problem, "norm")};
  DriftRun slow(problem, std::make_shared<WeightedNorm>(Decay(21, 1.0)), landing.w, options);
  slow.advance();
  const std::vector<double>& norm = slow.recorder().values(0);
  std::printf("drift: %s, ||w|| from %.6g to %.6g\n", to_string(slow.status()), norm.front(), norm.back());

  const double far = distance(problem, w0, slow.w(), 1e-3), near = distance(problem, w0, slow.w(), 1e-4);
  std::printf("distance of the flow: %.2g and %.2g\n", far, near);
  return landing.status == Status::landed && slow.status() == Status::finished &&
         norm.back() < norm.front() && near < 0.2 * far;
}

bool network_with_a_kink() {
  const Index n = 5, width = 12;
  Matrix X(n, 1);
  X.col(0) = Vector::LinSpaced(n, -1.0, 1.0);
  const auto network =
      std::make_shared<TwoLayerNetwork>(Samples{X, X.col(0).cwiseAbs2(), 1.0 / n}, std::nullopt, width,
                                        activation_by_name("relu", 0.0), false, 1.0);
  const Index d = network->num_params();
  Vector w0(d);
  for (Index i = 0; i < d; ++i) w0[i] = std::sin(1.0 + 2.0 * i);
  RunOptions options{0.0, 1e3};
  options.observables = {observe(network, "train_loss"), observe(network, "norm")};
  GradientRun run(network, w0, Decay(d, 1e-3), options);
  run.advance();
  const std::vector<double>& loss = run.recorder().values(0);
  std::printf("relu: %s, loss from %.3g to %.3g, %d changes of mode\n", to_string(run.status()), loss.front(),
              loss.back(), static_cast<int>(run.mode_changes().size()));
  return run.status() == Status::finished && loss.back() < 1e-2 * loss.front() && !run.mode_changes().empty();
}

int main() { return both_phases() && network_with_a_kink() ? 0 : 1; }
