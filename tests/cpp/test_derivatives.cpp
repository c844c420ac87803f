// Derivatives of the models agree with each other, whatever passes their sizes ask for.
#include <cmath>

#include "check.hpp"
#include "models.hpp"

using namespace grokflow;

namespace {

double off(const Vector& found, const Vector& exact) {
  return (found - exact).norm() / (1e-300 + exact.norm());
}

void check_products(const std::string& name, const Problem& problem) {
  const Index n = problem.num_residuals(), d = problem.num_params();
  const Vector w = Vector::LinSpaced(d, -1.0, 0.7), v = (3.0 * w).array().sin() + 0.2;
  const Vector q = Vector::LinSpaced(n, 1.0, -0.4);
  std::unique_ptr<Linearization> lin;
  problem.linearize(w, lin);
  Vector ahead(n), behind(n), Jv(n), JTq(d);
  constexpr double step = 1e-6;
  problem.residual(w + step * v, ahead);
  problem.residual(w - step * v, behind);
  lin->jvp(v, Jv);
  lin->vjp(q, JTq);
  CHECK_THAT(off(Jv, (ahead - behind) / (2.0 * step)) < 1e-7, "J v, %s, n = %d", name.c_str(), int(n));
  CHECK_THAT(std::abs(q.dot(Jv) - v.dot(JTq)) < 1e-13 * q.norm() * Jv.norm(), "J^T, %s, n = %d", name.c_str(),
             int(n));
  Vector whole(d), squares(d), residuals(d);
  if (!lin->residual_hvp(v, residuals)) return;
  lin->hvp(v, whole);
  lin->vjp(problem.scale() * Jv, squares);
  CHECK_THAT(off(squares + residuals, whole) < 1e-12, "sum g_i Hess r_i v, %s, n = %d", name.c_str(), int(n));
}

}  // namespace

TEST(products_of_models_agree) {
  for (Index n : {6, 8, 14, 24, 62, 64, 66})
    for (const auto& [name, problem] : small_models(n))
      if (name != "MLP with cross-entropy") check_products(name, *problem);  // where J is that of no residual
}

TEST(products_of_networks_without_biases_agree) {
  for (Index n : {6, 9, 40}) {
    const Samples samples{Matrix::Random(n, 3), Vector::Random(n), 0.1};
    check_products("TwoLayerNetwork",
                   TwoLayerNetwork(samples, std::nullopt, 300, Activation::tanh, /*output_bias=*/false, 0.5,
                                   /*inner_bias=*/false));
  }
}
