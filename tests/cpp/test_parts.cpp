// The private parts of the integrators, each held against what it promises.
#include <Eigen/Cholesky>
#include <cmath>
#include <stdexcept>

#include "check.hpp"
#include "grokflow/decay.hpp"
#include "grokflow/dense_flow.hpp"
#include "grokflow/integrate.hpp"
#include "grokflow/threads.hpp"
#include "numerics/parallel.hpp"
#include "numerics/root.hpp"
#include "numerics/shifted_factor.hpp"
#include "numerics/symmetric_cholesky.hpp"
#include "steppers/history.hpp"

using namespace grokflow;

namespace {

/// t^4 - 2 t^3 + t and its derivative
double quartic(double t) { return ((t - 2.0) * t * t + 1.0) * t; }
double quartic_slope(double t) { return (4.0 * t - 6.0) * t * t + 1.0; }

/// The quartic at five unequal times up to `t`.
History history_of_quartic(double& t) {
  History history(1);
  t = 0.3;
  history.reset(Vector::Constant(1, quartic(t)), Vector::Constant(1, quartic_slope(t)), 0.1);
  for (double h : {0.1, 0.2, 0.15, 0.4}) {
    t += h;
    Vector w = Vector::Constant(1, quartic(t));
    history.push(w, h);
  }
  return history;
}

Matrix kernel(Index n) {
  const Matrix B =
      Matrix::NullaryExpr(n, n + 3, [](Index i, Index j) { return std::sin(double(3 * i + 7 * j)); });
  return B * B.transpose();
}

}  // namespace

TEST(history_reproduces_polynomials) {
  double t;
  History history = history_of_quartic(t);
  Vector value(1), slope(1), again(1);
  for (double ahead : {0.25, -0.3, 0.0}) {
    history.interpolate(5, ahead, value);
    CHECK_NEAR(value[0], quartic(t + ahead), 1e-13);
  }
  const double visited = history.extrapolate(5, 0.25, value, slope, [&](Index begin, Index count) {
    again[0] = value[0];
    return static_cast<double>(begin + 10 * count);
  });
  CHECK_NEAR(value[0], quartic(t + 0.25), 1e-13);
  CHECK_NEAR(slope[0], quartic_slope(t + 0.25), 1e-12);
  CHECK(again[0] == value[0] && visited == 10.0);
}

TEST(history_divided_difference_is_the_leading_coefficient) {
  double t;
  const History history = history_of_quartic(t);
  CHECK_NEAR(history.divided_difference(5, Vector::Constant(1, 2.0)) / std::pow(history.unit(), 4), 2.0,
             1e-10);
}

TEST(stretches_cover_a_vector_once_in_one_order) {
  for (Index size : {1, 511, 512, 513, 100000}) {
    Stretches pass(size);
    Vector seen = Vector::Zero(size);
    const double sum = pass.sum(1e6, [&](Index begin, Index count) {
      seen.segment(begin, count).array() += 1.0;
      return static_cast<double>(count);
    });
    CHECK(sum == static_cast<double>(size) && (seen.array() == 1.0).all());
  }
}

TEST(root_is_found_to_the_last_bits) {
  for (double zero : {0.1, 1.0, 2.5e5}) {
    const auto f = [zero](double t) { return std::expm1((t - zero) / zero); };
    const double a = 0.01 * zero, b = 1.9 * zero;
    CHECK_NEAR(find_root(f, a, b, f(a), f(b)) / zero, 1.0, 1e-14);
  }
}

TEST(root_search_is_not_slower_than_bisection) {
  int evaluations = 0;
  const auto f = [&](double t) { return ++evaluations, std::pow(t - 0.3, 9); };
  find_root(f, 0.0, 1.0, f(0.0), f(1.0));
  CHECK(evaluations < 60);
}

TEST(stale_factor_is_refined) {
  const Index n = 80;  // large enough for an old factor to be kept
  const Matrix K = kernel(n);
  const Vector v = Vector::LinSpaced(n, -1.0, 1.0);
  ShiftedFactor<double, Factorisation::cholesky> factor(n);
  std::int64_t nfactor = 0;
  CHECK(factor.prepare(K, 1e-3, 1, nfactor));
  CHECK(factor.exact());
  for (double drift : {0.01, 0.1}) {
    const double shift = 1e-3 * (1.0 + drift);
    CHECK(factor.prepare(K, shift, 1, nfactor));
    CHECK(!factor.exact());
    Vector x = v;
    factor.solve(x);
    const Vector exact = (K + shift * Matrix::Identity(n, n)).ldlt().solve(v);
    CHECK((x - exact).norm() <= 1.5 * drift * drift * exact.norm());
  }
  CHECK(nfactor == 1);
  CHECK(factor.prepare(K, 2e-3, 1, nfactor));  // too far
  CHECK(factor.prepare(K, 2e-3, 2, nfactor));  // another kernel
  CHECK(nfactor == 3);
}

TEST(cholesky_refuses_what_is_not_positive) {
  ShiftedFactor<double, Factorisation::cholesky> factor(3);
  std::int64_t nfactor = 0;
  CHECK(!factor.prepare(-Matrix::Identity(3, 3), 0.5, 1, nfactor));
  CHECK(!factor.prepare(Matrix::Constant(3, 3, std::nan("")), 0.5, 2, nfactor));
  CHECK(factor.prepare(-Matrix::Identity(3, 3), 1.5, 3, nfactor));
}

TEST(cholesky_of_many_blocks) {
  const Index n = 700;  // beyond the size that is factored as a whole
  const Matrix K = kernel(n) + 0.1 * Matrix::Identity(n, n);
  const Eigen::MatrixXcd S = K.cast<Complex>() + Complex(0.0, 2.0) * Eigen::MatrixXcd::Identity(n, n);
  const int threads = num_threads();
  Matrix real[2];
  Eigen::MatrixXcd complex[2];
  for (int i = 0; i < 2; ++i) {
    set_num_threads(1 + 2 * i);
    real[i] = K;
    complex[i] = S;
    SymmetricCholesky<double> factor(real[i]);
    SymmetricCholesky<Complex> complex_factor(complex[i]);
    CHECK(factor.regular() && complex_factor.regular());
    const Vector v = Vector::LinSpaced(n, -1.0, 1.0);
    Vector x = v;
    factor.solve(x);
    CHECK((K * x - v).norm() <= 1e-14 * K.norm() * x.norm());
    Eigen::VectorXcd z = v.cast<Complex>();
    complex_factor.solve(z);
    CHECK((S * z - v.cast<Complex>()).norm() <= 1e-14 * S.norm() * z.norm());
  }
  set_num_threads(threads);
  CHECK(real[0] == real[1]);
  CHECK(complex[0] == complex[1]);
  Matrix indefinite = K;
  indefinite(600, 600) = -1e6;
  CHECK(!SymmetricCholesky<double>(indefinite).regular());
}

TEST(tiles_cover_an_output_once) {
  for (const Index size : {1, 7, 191, 193, 500}) {
    Matrix count = Matrix::Zero(size, 2 * size), triangle = Matrix::Zero(size, size);
    for_tiles(size, 2 * size, 1000, [&](const Tile& t) { t.of(count).array() += 1.0; });
    CHECK((count.array() == 1.0).all());
    for_lower_tiles(size, 1000, 64, [&](const Tile& t) { t.of(triangle).array() += 1.0; });
    for (Index j = 0; j < size; ++j) CHECK((triangle.col(j).tail(size - j).array() == 1.0).all());
    CHECK(triangle.maxCoeff() == 1.0);
  }
}

TEST(exceptions_leave_a_parallel_region) {
  const auto fail = [](Index i) {
    if (i == 3) throw std::runtime_error("three");
  };
  CHECK_THROWS(parallel_for(8, 1e9, fail), std::runtime_error);
  CHECK_THROWS(set_num_threads(0), std::invalid_argument);
}

TEST(decay_groups_equal_rates) {
  const Decay decay({{{0, 2}, 0.5}, {{2, 5}, 0.0}, {{5, 6}, 0.5}});
  CHECK(decay.groups().size() == 2);
  CHECK(decay.groups()[0].ranges.size() == 2);
  CHECK(decay.max_rate() == 0.5);
  Vector out = Vector::Zero(6);
  decay.add_product(-1.0, Vector::Ones(6), out);
  CHECK(out == (Vector(6) << -0.5, -0.5, 0, 0, 0, -0.5).finished());
  CHECK_THROWS(Decay(3, -1.0), std::invalid_argument);
  CHECK_THROWS(Decay({{{1, 2}, 0.5}}), std::invalid_argument);
}

TEST(integrator_refuses_misuse) {
  const auto make = [](double t1, const Vector& w0) {
    DenseFlow flow(
        2, [](double, const ConstVectorRef& w, VectorRef out) { out = -w; },
        [](double, const ConstVectorRef&, MatrixRef J) { J = -Matrix::Identity(2, 2); });
    Integrator integrator(flow, make_bdf(flow), w0, 0.0, t1);
    while (integrator.step() == Status::running) {
    }
    CHECK_THROWS(integrator.step(), std::logic_error);
    return Vector(integrator.w());
  };
  CHECK((make(1.0, Vector::Ones(2)) - std::exp(-1.0) * Vector::Ones(2)).norm() < 1e-5);
  CHECK_THROWS(make(-1.0, Vector::Ones(2)), std::invalid_argument);
  CHECK_THROWS(make(1.0, Vector::Ones(3)), std::invalid_argument);
  CHECK_THROWS(make(1.0, Vector::Constant(2, std::nan(""))), std::invalid_argument);
}
