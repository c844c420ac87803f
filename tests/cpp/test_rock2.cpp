// The coefficients of ROCK2, and the method against closed forms.
#include <cmath>

#include "check.hpp"
#include "grokflow/dense_flow.hpp"
#include "grokflow/integrate.hpp"
#include "steppers/rock2_polynomial.hpp"

using namespace grokflow;

namespace {

const int degrees[] = {3, 4, 5, 7, 10, 23, 50, 101, 200};

/// dw/dt = -rates (w - 1)
DenseFlow linear_flow(const Vector& rates) {
  return DenseFlow(
      rates.size(),
      [rates](double, const ConstVectorRef& w, VectorRef out) { out = -rates.array() * (w.array() - 1.0); },
      [rates](double, const ConstVectorRef&, MatrixRef J) { J = -Matrix(rates.asDiagonal()); });
}

}  // namespace

TEST(rock2_polynomial_has_order_two) {
  for (int s : degrees) {
    const Rock2Polynomial R(s);
    CHECK_NEAR(R(0.0), 1.0, 1e-13);
    for (double z : {1e-2, -1e-2}) {  // exp(z) - R(z) is between z^3 / 20 and z^3 / 10
      const double error = (std::exp(z) - R(z)) / (z * z * z);
      CHECK_THAT(error > 0.05 && error < 0.1, "degree %d: %g z^3", s, error);
    }
  }
}

TEST(rock2_polynomial_is_damped_on_its_interval) {
  for (int s : degrees) {
    const Rock2Polynomial R(s);
    double largest = 0.0;
    const int points = 60 * s;
    for (int i = 0; i <= points; ++i) {
      // Dense towards both ends, where R oscillates fastest.
      const double z = -0.5 * R.length() * (1.0 - std::cos(3.14159265358979 * i / points));
      if (z <= -0.5) largest = std::max(largest, std::abs(R(z)));
      CHECK_THAT(std::abs(R(z)) <= 1.0 + 1e-13, "degree %d: R(%g) = %g", s, z, R(z));
    }
    CHECK_NEAR(largest, Rock2Polynomial::kDamping, 2e-3);
    CHECK_THAT(std::abs(R(-1.03 * R.length())) > largest, "degree %d: not at the boundary", s);
  }
}

TEST(rock2_length_grows_with_the_square_of_the_degree) {
  for (int s = Rock2Polynomial::kLeastDegree; s <= Rock2Polynomial::kMostDegree; ++s) {
    const Rock2Polynomial R(s);
    CHECK_THAT(Rock2Polynomial::reach(s) <= R.length(), "degree %d", s);
    CHECK_THAT(Rock2Polynomial::reach(s) > 0.98 * R.length() - 0.1, "degree %d", s);
    CHECK(Rock2Polynomial::degree_for(Rock2Polynomial::reach(s) * (1.0 - 1e-12)) == s);
    CHECK(Rock2Polynomial::degree_for(Rock2Polynomial::reach(s) * (1.0 + 1e-12)) == s + 1 || s == 200);
  }
}

TEST(rock2_degree_is_recomputed_in_place) {
  Rock2Polynomial R(150);
  R.compute(7);
  const Rock2Polynomial fresh(7);
  for (double z : {-20.0, -3.0, -0.1, 0.4}) CHECK_NEAR(R(z), fresh(z), 0.0);
}

TEST(rock2_takes_as_many_stages_as_the_spectrum_asks_for) {
  const Vector rates = Vector::LinSpaced(40, 1.0, 1e4);
  DenseFlow flow = linear_flow(rates);
  auto stepper = make_rock2(flow, {1e-5, 1e-5});
  stepper->start(Vector::Ones(40), 1e-3);  // at rest: any step passes the error test
  for (double h : {1e-3, 1e-2, 0.1, 1.0}) {
    CHECK(stepper->attempt(h).success());  // the first also finds the spectral radius
    stepper->accept();
    const auto before = flow.stats().nfev;
    CHECK(stepper->attempt(h).success());
    stepper->accept();
    const double stages = static_cast<double>(flow.stats().nfev - before);
    const double least = std::sqrt((1.0 + h * 1e4) / 0.714);
    CHECK_THAT(stages >= least && stages <= 1.2 * least + 2.0, "h = %g: %g stages, at least %g", h, stages,
               least);
  }
}

TEST(rock2_decays_a_stiff_perturbation_at_the_boundary) {
  // Every mode of the interval is perturbed; each step damps it by 0.66, but the slow ones by exp(-h rate).
  const Vector rates = Vector::LinSpaced(200, 50.0, 1e4);
  DenseFlow flow = linear_flow(rates);
  auto stepper = make_rock2(flow, {1e9, 1e9});
  stepper->start(Vector::Constant(200, 2.0), 0.1);
  for (int step = 0; step < 60; ++step) {
    CHECK(stepper->attempt(0.1).success());
    stepper->accept();
  }
  CHECK_NEAR((stepper->w() - Vector::Ones(200)).cwiseAbs().maxCoeff(), 0.0, 1e-9);
}
