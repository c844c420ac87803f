// The examples at the heads of the headers compile; test_package.py holds them against the headers.
#include <cstdio>

#include "grokflow/drift_monitor.hpp"
#include "grokflow/gradient_flow.hpp"
#include "grokflow/grokflow.hpp"
#include "grokflow/norm_flow.hpp"

extern void use(double t, const grokflow::ConstVectorRef& w);
extern void explain(const std::string& message);

namespace examples {

struct Chain final : grokflow::Problem {       // problem.hpp
  struct At final : grokflow::Linearization {  // r and J frozen at w
    explicit At(const grokflow::ConstVectorRef& at) : Linearization(at.size(), at.size() - 1), w(at) {}
    void jvp(const grokflow::ConstVectorRef& v, grokflow::VectorRef out) const override {
      const auto m = w.size() - 1;
      out = w.head(m).cwiseProduct(v.tail(m)) + w.tail(m).cwiseProduct(v.head(m));
    }
    void vjp(const grokflow::ConstVectorRef& u, grokflow::VectorRef out) const override {
      const auto m = w.size() - 1;
      out.setZero();
      out.tail(m) += w.head(m).cwiseProduct(u);
      out.head(m) += w.tail(m).cwiseProduct(u);
    }
    grokflow::Vector w;
  };
  explicit Chain(const grokflow::Vector& data) : Problem(data.size() + 1, data.size(), 1.0), y(data) {}
  void residual(const grokflow::ConstVectorRef& w, grokflow::VectorRef out) const override {
    out = w.head(y.size()).cwiseProduct(w.tail(y.size())) - y;
  }
  void linearize(const grokflow::ConstVectorRef& w,
                 std::unique_ptr<grokflow::Linearization>& lin) const override {
    lin = std::make_unique<At>(w);
  }
  grokflow::Vector y;
};

struct Decay final : grokflow::Flow {  // flow.hpp
  struct At final : grokflow::LinearizedFlow {
    bool factor(double, std::unique_ptr<grokflow::ShiftedSolver<double>>&) override { return false; }
    bool factor(grokflow::Complex, std::unique_ptr<grokflow::ShiftedSolver<grokflow::Complex>>&) override {
      return false;
    }
  };
  grokflow::Index size() const override { return 3; }
  void compute_rhs(const grokflow::ConstVectorRef& w, grokflow::VectorRef out) override { out = -w; }
  void compute_linearization(const grokflow::ConstVectorRef&,
                             std::unique_ptr<grokflow::LinearizedFlow>& lin) override {
    lin = std::make_unique<At>();
  }
};

std::shared_ptr<grokflow::Problem> functions(grokflow::Index n, const grokflow::Vector& y) {
  grokflow::LeastSquares::Functions chain;
  chain.residual = [&](const auto& w, auto out) { out = w.head(n).cwiseProduct(w.tail(n)) - y; };
  chain.jvp = [&](const auto& w, const auto& v, auto out) {
    out = w.head(n).cwiseProduct(v.tail(n)) + w.tail(n).cwiseProduct(v.head(n));
  };
  chain.vjp = [&](const auto& w, const auto& u, auto out) {
    out.setZero();
    out.tail(n) += w.head(n).cwiseProduct(u);
    out.head(n) += w.tail(n).cwiseProduct(u);
  };
  auto problem = std::make_shared<grokflow::LeastSquares>(n + 1, n, chain);
  return problem;
}

void check(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w) {
  for (const grokflow::Failure& failure : grokflow::check_problem(*problem, w))
    std::printf("%s: %s (%g)\n", failure.function.c_str(), failure.law.c_str(), failure.measured);
}

void solve(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0) {
  auto sol = grokflow::gradient_flow(problem, w0, 1e-3, {0.0, 1e5});  // dw/dt = -grad F(w) - 1e-3 w
  if (!sol.success()) std::puts(sol.message.c_str());
  auto phases = grokflow::two_phase(problem, w0, {1e-3, 1e-4});  // the limit, and flows beside it
  use(phases.flows[1].distance, phases.slow.w_end);
}

void runs(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0, double lam) {
  const auto d = w0.size();
  grokflow::RunOptions options{0.0, 10.0 / lam};
  options.observables = {grokflow::observe(problem, "train_loss"), grokflow::observe(problem, "norm")};
  grokflow::GradientRun run(problem, w0, grokflow::Decay(d, lam), options);  // dw/dt = -grad F(w) - lam w
  if (run.advance() != grokflow::Status::finished) explain(run.message());
  grokflow::LandingRun fast(problem, w0, {0.0, grokflow::kForever});  // dw/dt = -grad F(w)
  fast.advance();
  grokflow::Landing landing = fast.settle();  // landing.w = Phi(w0)
  auto norm = std::make_shared<grokflow::WeightedNorm>(grokflow::Decay(d, 1.0));
  grokflow::DriftRun slow(problem, norm, landing.w, {0.0, 10.0});  // dw/ds = -P(w) w
  slow.advance();
}

void penalty(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0) {
  const auto d = w0.size();
  auto trace = std::make_shared<grokflow::HessianTrace>(problem);
  auto sum = grokflow::penalised(problem, trace, 1e-3);  // F + 1e-3 R
  grokflow::GradientRun run(sum, w0, grokflow::Decay(d, 0.0), {0.0, 1e4});
  run.advance();
}

void schedule(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0) {
  const auto d = w0.size();
  const grokflow::RunOptions options{0.0, 1e5};
  grokflow::Schedule off{[](double t) { return t < 1e4 ? 1.0 : 0.0; }, {1e4}};
  grokflow::GradientRun run(problem, w0, grokflow::Decay(d, 1e-3), options, off);
  run.advance();
}

void flow(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0) {
  grokflow::GradientFlow flow(problem, grokflow::Decay(problem->num_params(), 1e-3));
  grokflow::Integrator integrator(flow, grokflow::make_bdf(flow), w0, 0.0, 1e4);  // see integrate.hpp
  while (integrator.step() == grokflow::Status::running) use(integrator.t(), integrator.w());
  while (integrator.step() == grokflow::Status::running) {
  }
  if (integrator.status() != grokflow::Status::finished) explain(integrator.message());
  auto stepper = grokflow::make_radau(flow, {1e-8, 1e-11});
  double h = stepper->start(w0, 0.0);
  auto attempt = stepper->attempt(h);
  h = attempt.success() ? stepper->accept() : stepper->reject();
}

void record(grokflow::Integrator& integrator, grokflow::Index d, const grokflow::Observable& loss,
            const grokflow::Observable& norm, const grokflow::Event& event) {
  grokflow::Recorder recorder(d, {loss, norm}, /*keep_states=*/true, grokflow::SampleTimes::log());
  {
    grokflow::Run run(integrator, recorder);  // see run.hpp
    while (run.step() == grokflow::Status::running) {
    }
  }
  grokflow::Run run(integrator, recorder, {event});
}

void limit(const std::shared_ptr<Chain>& problem, const grokflow::Vector& w0, double rtol) {
  const auto d = w0.size();
  auto norm = std::make_shared<grokflow::WeightedNorm>(grokflow::Decay(d, 1.0));
  grokflow::NormFlow flow(problem, norm, grokflow::CurvatureKind::gram);
  grokflow::Integrator integrator(flow, grokflow::make_tsit5(flow, {1e-6, 1e-9}), w0, 0.0, 10.0);
  grokflow::Recorder recorder(d, {}, false, grokflow::SampleTimes::steps());
  grokflow::DriftMonitor monitor(flow, {});  // flow: a NormFlow
  grokflow::Run run(integrator, recorder, {}, {},
                    [&](double s, const auto&, std::string& message) { return monitor.step(s, message); });
  grokflow::LandingWatch watch(problem, {rtol});
  grokflow::Landing landing = watch.settle(run.w(), integrator.status());
}

double value(grokflow::Index d, grokflow::Vector& w, grokflow::Vector& gradient) {
  auto norm = grokflow::WeightedNorm(grokflow::Decay(d, 1.0));  // R(w) = ||w||^2 / 2: weight decay
  double value = norm.evaluate(w, gradient);                    // R(w), and grad R(w)
  Decay().rhs(w, gradient);
  return value;
}

}  // namespace examples
