// A matrix made of factors, of which some entries or inner products are known:
//
//   r_i = <A_i, W(w)> - y_i,       A_i given, or with a single one at (row_i, col_i)
//   J = A G,    K = A G G^T A^T    with G = dW/dw (matrix_map.hpp)
//
// For entries K_ij is an entry of G G^T of a matrix with a single one, in a few operations a factor; for given A_i
// all G G^T A_j are formed, and K takes n^2 N M operations.
#pragma once

#include <optional>
#include <variant>

#include "grokflow/models/matrix_completion.hpp"
#include "grokflow/models/matrix_map.hpp"
#include "grokflow/models/matrix_sensing.hpp"

namespace grokflow {

using MatrixData = std::variant<Entries, Measurements>;

class MeasuredMatrix final : public Problem {
 public:
  /// Throws std::invalid_argument if the data do not fit the size of the matrix.
  MeasuredMatrix(std::unique_ptr<MatrixMap> map, MatrixData train, std::optional<MatrixData> test);

  bool has_hvp() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  std::vector<Block> blocks() const override { return map_->blocks(); }
  /// Adds test_loss, if there are test data, singular_values (all min(N, M) of them, of W), and balance of a chain.
  std::vector<Quantity> quantities() const override;

  /// W.
  Matrix predict(const ConstVectorRef& w) const;

 private:
  class Here;

  struct Scratch {
    std::unique_ptr<MatrixMap::At> at;
    Matrix sum, image, turned;  ///< N x M, N x M, M x N
    Vector r;                   ///< n
    Matrix spread;              ///< all G G^T A_j, one column each, sized by the first K
  };

  WorkspacePool<Scratch>::Lease scratch() const;
  /// out_i = <A_i, W>
  static void measure(const MatrixData& data, const Matrix& W, Matrix& turned, VectorRef out);
  /// sum = sum_i q_i A_i
  void combine(const ConstVectorRef& q, Scratch& work) const;

  std::unique_ptr<MatrixMap> map_;
  std::vector<Index> edges_;  // where blocks begin, and the end of the last one
  MatrixData train_;
  std::optional<MatrixData> test_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
