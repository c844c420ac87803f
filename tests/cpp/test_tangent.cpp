// The tangent space without a matrix: a long solve can be stopped, and the next one does not suffer.
#include <stdexcept>

#include "check.hpp"
#include "grokflow/tangent.hpp"
#include "models.hpp"

using namespace grokflow;

namespace {

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

/// P v at w by `krylov`, after a projection that its checkpoint stopped at its third call.
void check_stop(const Vector& w) {
  const auto problem = small_models(20).front().problem;  // y = X (1, 1, 0, ...)
  const Vector v = Vector::LinSpaced(problem->num_params(), -1.0, 1.0);
  Vector exact = v, stopped = v, found = v;
  Stats stats;
  const auto gram = make_tangent_space(CurvatureKind::gram, problem, {}, stats);
  CHECK(gram->linearize(w));
  gram->project(exact);

  int calls = 0, last = 0;
  TangentOptions options;
  options.checkpoint = [&] {
    if (++calls == last) throw Stopped();
  };
  const auto krylov = make_tangent_space(CurvatureKind::krylov, problem, options, stats);
  CHECK(krylov->linearize(w));
  last = calls + 3;
  bool left = false;
  try {
    krylov->project(stopped);
  } catch (const Stopped&) {
    left = true;
  }
  CHECK(left);
  CHECK_THAT(calls == last, "%d calls", calls);
  krylov->project(found);
  CHECK_THAT((found - exact).norm() < 1e-9 * v.norm(), "error %g", (found - exact).norm());
}

}  // namespace

TEST(krylov_projection_can_be_stopped_on_the_kernel) {
  Vector w = Vector::Zero(40);
  w.head(2).setOnes();
  check_stop(w);
}

TEST(krylov_projection_can_be_stopped_on_the_hessian) { check_stop(Vector::Zero(40)); }
