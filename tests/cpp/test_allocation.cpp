// After warm-up a step allocates no memory.
#include <cmath>

#include "check.hpp"
#include "count_allocations.hpp"
#include "grokflow/gradient_flow.hpp"
#include "grokflow/integrate.hpp"
#include "grokflow/models/two_layer_network.hpp"
#include "grokflow/modes.hpp"
#include "grokflow/norm_flow.hpp"
#include "models.hpp"
#include "steppers/exponential.hpp"

namespace {

using namespace grokflow;

constexpr int kWarmUp = 50, kSteps = 100;

/// The allocations in `kSteps` steps after `kWarmUp`.
long allocations_of(Flow& flow, std::unique_ptr<Stepper> stepper, const Vector& w0, Limits limits = {}) {
  Integrator integrator(flow, std::move(stepper), w0, 0.0, 1e9, limits);
  for (int i = 0; i < kWarmUp; ++i) integrator.step();
  allocations = 0;
  counting = true;
  for (int i = 0; i < kSteps && integrator.status() == Status::running; ++i) integrator.step();
  counting = false;
  CHECK(integrator.status() == Status::running);
  return allocations;
}

void check_models(Index n, CurvatureKind curvature, bool bdf, bool by_block) {
  for (const auto& [name, problem] : small_models(n)) {
    const Index d = problem->num_params();
    const Vector w0 = Vector::LinSpaced(d, -1.0, 0.7);
    const auto blocks = problem->blocks();
    const Index cut = blocks.size() > 1 ? blocks[1].begin : d / 2;
    const Decay decay = by_block ? Decay({{{0, cut}, 1e-4}, {{cut, d}, 1e-3}}) : Decay(d, 1e-4);
    CurvatureOptions options;
    options.rank = 1;  // `krylov` then learns nothing: the eigenvalues that it learns from cost Eigen memory
    GradientFlow flow(problem, decay, curvature, options);
    const Tolerance tight(1e-10, 1e-13);  // for many steps
    const long found = allocations_of(flow, bdf ? make_bdf(flow, {tight}) : make_radau(flow, tight), w0);
    CHECK_THAT(found == 0, "%ld allocations, %s, n = %ld, d = %ld", found, name.c_str(), static_cast<long>(n),
               static_cast<long>(d));
  }
}

void check_rock2() {
  for (const auto& [name, problem] : small_models(12)) {
    const Index d = problem->num_params();
    GradientFlow flow(problem, Decay(d, 1e-4), CurvatureKind::none);
    const long found = allocations_of(flow, make_rock2(flow, {1e-8, 1e-11}), Vector::LinSpaced(d, -1.0, 0.7));
    CHECK_THAT(found == 0, "%ld allocations, %s", found, name.c_str());
  }
}

void check_exponential() {
  for (const auto& [name, problem] : small_models(12)) {
    if (!problem->is_quadratic()) continue;
    for (const auto curvature : {CurvatureKind::gram, CurvatureKind::dense}) {
      GradientFlow flow(problem, Decay(problem->num_params(), 1e-4), curvature);
      const Vector w0 = Vector::LinSpaced(problem->num_params(), -1.0, 0.7);
      Limits limits;
      limits.max_step = 1.0;
      const long found = allocations_of(flow, make_exponential(flow, {1e-6, 1e-9}, 1e9), w0, limits);
      CHECK_THAT(found == 0, "%ld allocations, %s", found, name.c_str());
    }
  }
}

void check_tsit5() {
  for (const auto& [name, problem] : small_models(12)) {
    const Index d = problem->num_params();
    GradientFlow flow(problem, Decay(d, 1e-4), CurvatureKind::none);
    const long found = allocations_of(flow, make_tsit5(flow, {1e-8, 1e-11}), Vector::LinSpaced(d, -1.0, 0.7));
    CHECK_THAT(found == 0, "%ld allocations, %s", found, name.c_str());
  }
}

/// The drift, from the first two parameters, which alone fit the targets, and an arbitrary part of the kernel.
void check_drift(CurvatureKind curvature) {
  const auto problem = small_models(12).front().problem;
  Stats stats;
  Vector w0 = Vector::LinSpaced(problem->num_params(), -1.0, 0.7), step = w0;
  const auto gram = make_tangent_space(CurvatureKind::gram, problem, {}, stats);
  CHECK(gram->linearize(w0));
  gram->normal_step(w0, step);
  w0 += step;
  NormFlow flow(problem, std::make_shared<WeightedNorm>(Decay(w0.size(), 1e-3)), curvature);
  const long found = allocations_of(flow, make_tsit5(flow, {1e-10, 1e-13}), w0);
  // Eigen's eigenvectors take a vector at each decomposition.
  const long allowed = curvature == CurvatureKind::dense ? flow.stats().nfactor : 0;
  CHECK_THAT(found <= allowed, "%ld allocations", found);
}

/// Steps inside modes, some of whose neurons slide; a change of mode may allocate. So may the first steps that take a matrix
/// at each stage, and one that looks at a surface and stays in its mode: three of these 600.
void check_modes() {
  const Index n = 6, width = 8;
  Samples samples{Matrix(n, 1), Vector(n), 1.0 / static_cast<double>(n)};
  samples.X.col(0) = Vector::LinSpaced(n, -2.0, 1.7);
  samples.y = (3.0 * samples.X.col(0).array()).sin();
  const TwoLayerNetwork net(samples, std::nullopt, width, Activation::relu, false, 1.0);
  const std::shared_ptr<Piece> piece = net.make_piece(Decay(net.num_params(), 1e-2));
  const Tolerance tight(1e-10, 1e-13);
  GradientFlow flow(piece, Decay(piece->num_params(), 1e-2));
  Modes modes(piece, gradient_forces(piece, flow.decay()), tight);
  Vector w0(piece->num_params());
  for (Index i = 0; i < w0.size(); ++i) w0[i] = std::sin(7.0 * static_cast<double>(i));
  Integrator integrator(flow, make_piecewise(flow, make_radau(flow, tight), modes, 0.0), w0, 0.0, 1e9);
  int steps = 0, total = 0, allocating = 0;
  long found = 0;  // in the last step, unless it ended its mode
  Index sliding = 0;
  while (integrator.status() == Status::running && total++ < 600) {
    const std::size_t changes = modes.changes().size();
    allocations = 0;
    counting = true;
    integrator.step();
    counting = false;
    // A change of mode is made at the start of the step after the one that ends the mode.
    if (modes.changes().size() > changes) {
      found = 0;
      steps = 0;
      continue;
    }
    if (found > 0) ++allocating;
    found = ++steps > 3 && total > kWarmUp ? allocations : 0;
    if (total > kWarmUp) sliding = std::max(sliding, piece->num_sliding());
  }
  CHECK_THAT(allocating <= 3, "%d steps allocate", allocating);
  CHECK(sliding > 0);
}

}  // namespace

TEST(allocation_bdf_gram) { check_models(12, CurvatureKind::gram, true, false); }
TEST(allocation_bdf_gram_by_block) { check_models(12, CurvatureKind::gram, true, true); }
TEST(allocation_bdf_dense) { check_models(12, CurvatureKind::dense, true, false); }
TEST(allocation_radau_gram) { check_models(12, CurvatureKind::gram, false, false); }
TEST(allocation_radau_gram_by_block) { check_models(12, CurvatureKind::gram, false, true); }
TEST(allocation_radau_dense) { check_models(12, CurvatureKind::dense, false, false); }
// Eigen packs the factors of products much larger than these in memory of its own.
TEST(allocation_bdf_gram_large) { check_models(120, CurvatureKind::gram, true, false); }
TEST(allocation_bdf_krylov) { check_models(12, CurvatureKind::krylov, true, false); }
TEST(allocation_bdf_krylov_by_block) { check_models(12, CurvatureKind::krylov, true, true); }
TEST(allocation_bdf_krylov_large) { check_models(60, CurvatureKind::krylov, true, false); }
TEST(allocation_radau_krylov) { check_models(12, CurvatureKind::krylov, false, false); }
TEST(allocation_piecewise) { check_modes(); }
TEST(allocation_radau_gram_large) { check_models(120, CurvatureKind::gram, false, false); }
TEST(allocation_rock2) { check_rock2(); }
TEST(allocation_tsit5) { check_tsit5(); }
TEST(allocation_drift_gram) { check_drift(CurvatureKind::gram); }
TEST(allocation_drift_dense) { check_drift(CurvatureKind::dense); }
TEST(allocation_drift_krylov) { check_drift(CurvatureKind::krylov); }
TEST(allocation_exponential) { check_exponential(); }
