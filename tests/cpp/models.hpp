// One problem of each model, at the size asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grokflow/models/diagonal_linear_network.hpp"
#include "grokflow/models/linear_regression.hpp"
#include "grokflow/models/matrix_completion.hpp"
#include "grokflow/models/matrix_sensing.hpp"
#include "grokflow/models/mlp.hpp"
#include "grokflow/models/two_layer_network.hpp"
#include "grokflow/output_problem.hpp"

struct NamedProblem {
  std::string name;
  std::shared_ptr<const grokflow::Problem> problem;
};

/// n residuals and somewhat more parameters each.
inline std::vector<NamedProblem> small_models(grokflow::Index n) {
  using namespace grokflow;
  std::srand(0);
  const Matrix X = Matrix::Random(n, 2 * n);
  const Vector y = X.leftCols(2).rowwise().sum();
  const Samples wide{X, y, 1.0 / static_cast<double>(n)},
      narrow{X.leftCols(4), y, 1.0 / static_cast<double>(n)};
  const Samples two_outputs{X.topLeftCorner(n / 2, 3), y, 1.0 / static_cast<double>(n)};
  const Samples outputs{two_outputs.X, Vector::Zero(n), 1.0};
  const Vector probabilities = Vector::NullaryExpr(n, [](Index i) { return i % 2 == 0 ? 0.8 : 0.2; });
  const auto model = std::make_shared<MLP>(outputs, std::nullopt, std::vector<Index>{8, 5}, Activation::tanh,
                                           /*bias=*/true);
  const Measurements measurements{Matrix::Random(4 * n, n), y, 1.0 / static_cast<double>(n)};
  Entries entries{{}, {}, Vector::Random(n), 1.0};
  const Index side = 4 + n / 4;
  for (Index e = 0; e < n; ++e) {
    entries.rows.push_back(e % side);
    entries.cols.push_back((e + e / side) % side);
  }
  return {
      {"LinearRegression", std::make_shared<LinearRegression>(wide, std::nullopt)},
      {"DiagonalLinearNetwork", std::make_shared<DiagonalLinearNetwork>(wide, std::nullopt)},
      {"MatrixCompletion", std::make_shared<MatrixCompletion>(entries, std::nullopt, side, side, 3)},
      {"TwoLayerNetwork", std::make_shared<TwoLayerNetwork>(narrow, std::nullopt, n, Activation::tanh,
                                                            /*output_bias=*/true, 0.5)},
      {"MatrixSensing", std::make_shared<MatrixSensing>(measurements, std::nullopt, 4, n, 2)},
      {"MLP", std::make_shared<MLP>(two_outputs, std::nullopt, std::vector<Index>{8, 5}, Activation::tanh,
                                    /*bias=*/true)},
      {"MLP with cross-entropy",
       std::make_shared<OutputProblem>(Fit{model, cross_entropy(probabilities, 2), 2.0 / double(n)})},
  };
}
