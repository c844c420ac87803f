// Where kinks lead, and where polynomials end.
#include <cmath>

#include "check.hpp"
#include "grokflow/gradient_flow.hpp"
#include "grokflow/integrate.hpp"
#include "grokflow/modes.hpp"
#include "piecewise/bernstein.hpp"
#include "piecewise/kinks.hpp"

namespace {

using namespace grokflow;

/// Two inner weights, their surfaces with these normals.
Kinks kinks(std::initializer_list<std::pair<double, double>> normals, Vector field, Vector jumps) {
  Kinks out{Matrix(2, static_cast<Index>(normals.size())), std::move(field), std::move(jumps), {}};
  Index i = 0;
  for (const auto& [x, y] : normals) out.normals.col(i++) << x, y;
  return out;
}

Vector vector(std::initializer_list<double> entries) {
  Vector v(static_cast<Index>(entries.size()));
  std::copy(entries.begin(), entries.end(), v.data());
  return v;
}

/// One parameter w and the surface w = 0. F = (|w| + 1)^2 / 2 takes w there from both sides, and nothing that
/// the piece then says of the surface can be true: either its field is not a number, or it knows no jump, so that
/// w cannot slide and is sent back from wherever it is.
class Rattle final : public Piece {
 public:
  explicit Rattle(bool finite) : Piece(1, 1, 1.0), finite_(finite) {
    mode_.setConstant(1, 1, static_cast<signed char>(Side::off));
  }

  void residual(const ConstVectorRef& w, VectorRef out) const override { out[0] = mode_(0, 0) * w[0] + 1.0; }
  void linearize(const ConstVectorRef&, std::unique_ptr<Linearization>& lin) const override {
    struct Sign final : Linearization {
      explicit Sign(double side) : Linearization(1, 1), side_(side) {}
      void jvp(const ConstVectorRef& v, VectorRef out) const override { out = side_ * v; }
      void vjp(const ConstVectorRef& u, VectorRef out) const override { out = side_ * u; }
      double side_;
    };
    lin = std::make_unique<Sign>(mode_(0, 0));
  }

  Index num_units() const override { return 1; }
  Index num_surfaces() const override { return 1; }
  void enter(Index, const signed char* sides) override { mode_(0, 0) = sides[0]; }
  Index num_sliding() const override { return mode_(0, 0) == 0; }
  void distances(const ConstVectorRef& w, MatrixRef out) const override { out(0, 0) = w[0]; }
  void sizes(const ConstVectorRef&, VectorRef out) const override { out[0] = 1.0; }
  void gains(const ConstVectorRef&, VectorRef out) const override { out[0] = 1.0; }
  void project(VectorRef) const override {}
  void multipliers(const ConstVectorRef&, const ConstVectorRef&, const ConstVectorRef&, VectorRef,
                   VectorRef) const override {}
  void kinks(double, const ConstVectorRef&, const ConstVectorRef&, Index, const std::vector<Index>&,
             Kinks& out) const override {
    out.normals = Matrix::Identity(1, 1);
    out.field = Vector::Constant(1, finite_ ? -mode_(0, 0) : std::nan(""));
    out.jumps = Vector::Zero(1);
  }
  bool snap(Index, const std::vector<Index>&, VectorRef) const override { return false; }
  Index sample(Index surface) const override { return surface; }
  std::string describe(Index, const std::vector<Index>&) const override { return "neuron 3 at data point 7"; }

 private:
  bool finite_;
};

}  // namespace

TEST(kinks_one_surface) {
  const auto side = [](double field, double jump, Side before) {
    const auto found = resolve_kinks(kinks({{1, 0}}, vector({field, 0.3}), vector({jump})), {{before}}, true);
    CHECK(found.found);
    return found.sides[0];
  };
  CHECK(side(1.0, 3.0, Side::off) == Side::slide);  // off pushes up, on pulls down
  CHECK(side(1.0, 0.5, Side::off) == Side::on);     // both push up
  CHECK(side(-1.0, 0.5, Side::on) == Side::off);    // both pull down
  CHECK(side(-1.0, -3.0, Side::on) == Side::on);    // both repel, and it came from there
}

TEST(kinks_that_repel_split) {
  const auto found = resolve_kinks(kinks({{1, 0}}, vector({-1, 0}), vector({-3})), {{Side::off}}, false);
  CHECK(found.found && found.sides[0] == Side::off && found.split[0]);
  const auto crosses = resolve_kinks(kinks({{1, 0}}, vector({1, 0}), vector({-3})), {{Side::off}}, false);
  CHECK(crosses.found && crosses.sides[0] == Side::on && !crosses.split[0]);
}

TEST(kinks_two_surfaces) {
  // Both hold: the field vanishes, the unit is pinned.
  auto found = resolve_kinks(kinks({{1, 0}, {0, 1}}, vector({1, 1}), vector({2, 3})),
                             {{Side::slide}, {Side::off}}, true);
  CHECK(found.found && found.at_rest);
  CHECK(found.sides[0] == Side::slide && found.sides[1] == Side::slide);
  // The second normal leans on the first: with it the first is left.
  found = resolve_kinks(kinks({{1, 0}, {0.8, 0.6}}, vector({0.5, 2}), vector({4, 2})),
                        {{Side::slide}, {Side::off}}, true);
  CHECK(found.found && !found.at_rest);
  CHECK(found.sides[0] == Side::off && found.sides[1] == Side::slide);
}

TEST(kinks_of_dependent_normals) {
  // Three surfaces in two dimensions, one of them twice.
  const auto found = resolve_kinks(kinks({{1, 0}, {1, 0}, {0, 1}}, vector({3, 1}), vector({2, 2, 5})),
                                   {{Side::slide}, {Side::on}, {Side::off}}, true);
  CHECK(found.found && found.at_rest);
  int slides = 0;
  for (const Side side : found.sides) slides += side == Side::slide;
  CHECK(slides == 2);
}

TEST(kinks_forced_sides_stay) {
  std::vector<Touch> touches = {{Side::slide, true, Side::off}, {Side::slide}};
  const auto found =
      resolve_kinks(kinks({{1, 0}, {0, 1}}, vector({-1e-13, 1}), vector({1, 2})), touches, true);
  CHECK(found.found && found.sides[0] == Side::off && found.sides[1] == Side::slide);
}

TEST(bernstein_first_zero) {
  // (x - 1/4) (x - 3/4) (x + 1) = x^3 - 13/16 x + 3/16: positive, negative from 1/4 to 3/4, positive.
  const auto value = [](double x) { return (x - 0.25) * (x - 0.75) * (x + 1.0); };
  Matrix basis(4, 4);
  Vector values(4);
  for (int l = 0; l < 4; ++l) {
    basis.row(l) = bernstein_basis(3, l / 3.0);
    values[l] = value(l / 3.0);
    CHECK_NEAR(basis.row(l).sum(), 1.0, 1e-15);
  }
  Bernstein b{};
  // By Lagrange: solved by a few sweeps of Gauss-Seidel, for the matrix is diagonally dominant enough.
  Vector coefficients = Vector::Zero(4);
  for (int sweep = 0; sweep < 400; ++sweep)
    for (int i = 0; i < 4; ++i) coefficients[i] += (values[i] - basis.row(i).dot(coefficients)) / basis(i, i);
  for (int i = 0; i < 4; ++i) b[i] = coefficients[i];
  CHECK_NEAR(first_zero(b, 3), 0.25, 1e-12);
  for (double& c : b) c += 0.2;  // now it has no zero
  CHECK(first_zero(b, 3) > 1.0);
}

TEST(modes_that_cannot_be_resolved_end_the_run) {
  for (const bool finite : {false, true}) {
    const auto piece = std::make_shared<Rattle>(finite);
    const Tolerance tolerance(1e-6, 1e-9);
    GradientFlow flow(piece, Decay(1, 0.0));
    Modes modes(piece, gradient_forces(piece, flow.decay()), tolerance);
    Integrator integrator(flow, make_piecewise(flow, make_radau(flow, tolerance), modes, 0.0),
                          Vector::Ones(1), 0.0, 10.0);
    int steps = 0;
    while (integrator.status() == Status::running && steps++ < 1000) integrator.step();
    CHECK(integrator.status() == Status::mode_unresolved);
    CHECK(integrator.message().find("for neuron 3 at data point 7") != std::string::npos);
    CHECK((integrator.message().find("more than 44 times in a row") != std::string::npos) == finite);
    CHECK(integrator.message().find("Try another rtol, a smaller one down to 1e-10") != std::string::npos);
    // w(t) = 2 exp(-t) - 1 reaches 0 at log 2: the run is kept up to there.
    CHECK_NEAR(integrator.t(), std::log(2.0), 1e-5);
    CHECK_NEAR(integrator.w()[0], 0.0, 1e-5);
  }
}
