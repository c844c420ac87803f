// A program of one's own: both phases of a problem made of lambdas, a network with a kink, and what is
// refused.
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "grokflow/gradient_flow.hpp"
#include "grokflow/grokflow.hpp"
#include "grokflow/norm_flow.hpp"

using namespace grokflow;

namespace {

/// r_i = w_i w_{i+1} - y_i, with J^T u times `factor`, which is 1 if it is right.
std::shared_ptr<Problem> chain(const Vector& y, double factor = 1.0) {
  const Index n = y.size();
  return std::make_shared<LeastSquares>(
      n + 1, n,
      LeastSquares::Functions{
          [n, y](const auto& w, auto out) { out = w.head(n).cwiseProduct(w.tail(n)) - y; },
          [n](const auto& w, const auto& v, auto out) {
            out = w.head(n).cwiseProduct(v.tail(n)) + w.tail(n).cwiseProduct(v.head(n));
          },
          [n, factor](const auto& w, const auto& u, auto out) {
            out.setZero();
            out.tail(n) += w.head(n).cwiseProduct(u);
            out.head(n) += factor * w.tail(n).cwiseProduct(u);
          }},
      1.0);
}

std::shared_ptr<Problem> bowl() {
  return std::make_shared<Objective>(
      3, Objective::Functions{[](const auto& w) { return std::cosh(w[0]) + 0.5 * w.squaredNorm(); },
                              [](const auto& w, auto out) {
                                out = w;
                                out[0] += std::sinh(w[0]);
                              },
                              [](const auto& w, const auto& v, auto out) {
                                out = v;
                                out[0] += std::cosh(w[0]) * v[0];
                              }});
}

bool both_phases() {
  const Vector y = Vector::LinSpaced(20, 0.5, 1.5), w0 = Vector::LinSpaced(21, 0.1, 3.0);
  RunOptions options;
  options.tolerance = Tolerance(1e-9, 1e-12);
  const TwoPhase phases = two_phase(chain(y), w0, {1e-3, 1e-4}, 1.0, 0.1, options);
  const Matrix &norm = phases.slow["norm"], &loss = phases.fast["train_loss"];
  const double far = phases.flows[0].distance, near = phases.flows[1].distance;
  std::printf("landing: %s, ||r|| = %.2g; ||w|| from %.6g to %.6g; distance of the flows: %.2g and %.2g\n",
              to_string(phases.landing.status), phases.landing.residual_norm, norm(0), norm(norm.size() - 1),
              far, near);
  return phases.landing.status == Status::landed && norm(norm.size() - 1) < norm(0) &&
         loss(loss.size() - 1) < 1e-6 * loss(0) && near < 0.2 * far;
}

bool loss_without_residuals() {
  const Solution sol = gradient_flow(bowl(), Vector::Ones(3), 0.1, {0.0, 100.0});
  return sol.success() && sol.w_end.norm() < 1e-6 &&
         sol.t.size() == static_cast<std::size_t>(sol["norm"].size());
}

std::shared_ptr<Problem> network() {
  const Index n = 5;
  Matrix X(n, 1);
  X.col(0) = Vector::LinSpaced(n, -1.0, 1.0);
  return std::make_shared<TwoLayerNetwork>(Samples{X, X.col(0).cwiseAbs2(), 1.0 / n}, std::nullopt, 12,
                                           activation_by_name("relu", 0.0), false, 1.0);
}

bool network_with_a_kink() {
  const auto problem = network();
  Vector w0(problem->num_params());
  for (Index i = 0; i < w0.size(); ++i) w0[i] = std::sin(1.0 + 2.0 * static_cast<double>(i));
  const Solution sol = gradient_flow(problem, w0, 1e-3, {0.0, 1e3});
  const Matrix& loss = sol["train_loss"];
  std::printf("relu: %s, loss from %.3g to %.3g, %d changes of mode\n", to_string(sol.status), loss(0),
              loss(loss.size() - 1), static_cast<int>(sol.mode_changes.size()));
  return sol.success() && loss(loss.size() - 1) < 1e-2 * loss(0) && !sol.mode_changes.empty();
}

bool derivatives() {
  const Vector y = Vector::LinSpaced(6, 0.5, 1.5), w = Vector::LinSpaced(7, 0.3, 1.7);
  const auto wrong = check_problem(*chain(y, 1.1), w);
  return check_problem(*chain(y), w).empty() && check_problem(*bowl(), Vector::Ones(3)).empty() &&
         wrong.size() == 1 && wrong[0].function == "vjp";
}

template <class Work>
bool refuses(const char* name, Work&& work) {
  try {
    work();
  } catch (const std::invalid_argument& error) {
    std::printf("%s: %s\n", name, error.what());
    return true;
  }
  std::printf("%s is not refused\n", name);
  return false;
}

/// Its gradient and products are those of r = w, which `linearize` does not say.
struct WithoutLinearization final : Problem {
  explicit WithoutLinearization(bool own_gradient) : Problem(2, 2, 1.0), own(own_gradient) {}
  void residual(const ConstVectorRef& w, VectorRef out) const override { out = w; }
  void gradient(const ConstVectorRef& w, VectorRef out) const override {
    own ? void(out = w) : Problem::gradient(w, out);
  }
  void linearize(const ConstVectorRef&, std::unique_ptr<Linearization>&) const override {}
  bool own;
};

bool without_linearization(CurvatureKind curvature, bool own_gradient) {
  const auto problem = std::make_shared<WithoutLinearization>(own_gradient);
  RunOptions options{0.0, 1.0};
  options.curvature = curvature;
  return refuses("linearisation", [&] { gradient_flow(problem, Vector::Ones(2), 0.1, options); }) &&
         refuses("linearisation", [&] { norm_flow(problem, Vector::Zero(2), options); });
}

/// Sizes that do not fit would be read and written out of bounds.
bool misuse() {
  const auto problem = chain(Vector::Ones(4));
  const Vector w0 = Vector::Ones(5);
  const Samples good{Matrix::Ones(4, 2), Vector::Ones(4), 1.0},
      short_y{Matrix::Ones(4, 2), Vector::Ones(3), 1.0}, wide{Matrix::Ones(4, 3), Vector::Ones(4), 1.0};
  const auto norm = std::make_shared<WeightedNorm>(Decay(5, 1.0));
  RunOptions options{0.0, 1.0};
  const auto at = [&options](std::vector<double> times) {
    options.sample_times = SampleTimes::given(std::move(times));
    return options;
  };
  return refuses("no problem", [&] { gradient_flow(nullptr, w0, 0.1, options); }) &&
         refuses("w0", [&] { gradient_flow(problem, Vector::Ones(4), 0.1, options); }) &&
         refuses("decay", [&] { gradient_flow(problem, w0, Decay(6, 0.1), options); }) &&
         refuses("drift",
                 [&] { norm_flow(problem, std::make_shared<WeightedNorm>(Decay(4, 1.0)), w0, options); }) &&
         refuses("times out of order", [&] { gradient_flow(problem, w0, 0.1, at({0.5, 0.2})); }) &&
         refuses("times outside", [&] { gradient_flow(problem, w0, 0.1, at({0.5, 7.0})); }) &&
         refuses("times not a number", [&] { gradient_flow(problem, w0, 0.1, at({NAN})); }) &&
         refuses("regression", [&] { LinearRegression(short_y, std::nullopt); }) &&
         refuses("regression's tests", [&] { LinearRegression(good, wide); }) &&
         refuses("diagonal", [&] { DiagonalLinearNetwork(short_y, std::nullopt); }) &&
         refuses("two layers", [&] { TwoLayerNetwork(good, short_y, 3, Activation::tanh, false, 1.0); }) &&
         refuses("perceptron", [&] { MLP(good, wide, {3}, Activation::tanh, true); }) &&
         refuses("entries",
                 [&] {
                   MatrixCompletion(Entries{{0, 3}, {0, 0}, Vector::Ones(2), 1.0}, std::nullopt, 3, 3, 2);
                 }) &&
         refuses("measurements",
                 [&] {
                   MatrixSensing(Measurements{Matrix::Ones(5, 4), Vector::Ones(4), 1.0}, std::nullopt, 3, 2,
                                 1);
                 }) &&
         refuses("functions", [&] { LeastSquares(3, 2, {}, 1.0); }) &&
         refuses("scale", [&] { LinearRegression({good.X, good.y, HUGE_VAL}, std::nullopt); }) &&
         refuses("tolerance", [] { Tolerance(HUGE_VAL, 1.0); }) &&
         without_linearization(CurvatureKind::gram, false) &&
         without_linearization(CurvatureKind::gram, true) &&
         without_linearization(CurvatureKind::dense, true) &&
         without_linearization(CurvatureKind::krylov, true) &&
         refuses("tangent space", [&] { NormFlow(problem, norm, CurvatureKind::none); }) &&
         refuses("kernel space", [&] { NormFlow(bowl(), norm, CurvatureKind::gram); }) &&
         refuses("regularizer", [&] { NormFlow(problem, nullptr, CurvatureKind::automatic); }) &&
         refuses("problem of a drift", [&] { NormFlow(nullptr, norm, CurvatureKind::gram); }) &&
         refuses("stepper", [&] {
           GradientFlow flow(problem, Decay(5, 0.1)), other(problem, Decay(5, 0.2));
           Integrator(flow, make_bdf(other), w0, 0.0, 1.0);
         });
}

}  // namespace

// What the examples call.
void use(double, const ConstVectorRef&) {}
void explain(const std::string& message) { std::puts(message.c_str()); }

int main() {
  const bool passed[] = {both_phases(), loss_without_residuals(), network_with_a_kink(), derivatives(),
                         misuse()};
  for (const bool each : passed)
    if (!each) return 1;
  return 0;
}
