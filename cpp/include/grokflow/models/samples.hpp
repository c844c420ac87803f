// What the regression models are fitted to.
#pragma once

#include <optional>

#include "grokflow/problem.hpp"

namespace grokflow {

/// Inputs X (n x p), targets y (n) and the factor c of the loss (c/2) sum_i (f(x_i) - y_i)^2 over them.
struct Samples {
  Matrix X;
  Vector y;
  double scale;
};

/// Throws std::invalid_argument unless every input has its target, or one for each of `outputs`, and the
/// tests as many features as the training inputs.
void require_sizes(const Samples& train, const std::optional<Samples>& test, Index outputs = 1);

/// Appends "test_loss", the loss over `test`, if there are test samples. The model must outlive the quantity.
template <class Model>
void append_test_loss(std::vector<Quantity>& quantities, const Model& model,
                      const std::optional<Samples>& test) {
  if (!test) return;
  quantities.push_back({"test_loss", 0, [&model, &test](const ConstVectorRef& w, VectorRef out) {
                          Vector r(test->y.size());
                          model.predict(w, test->X, r);
                          out[0] = 0.5 * test->scale * (r - test->y).squaredNorm();
                        }});
}

}  // namespace grokflow
