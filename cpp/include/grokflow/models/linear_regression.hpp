// Linear regression: f(x) = <w, x>. J = X, K = X X^T and Hess F = c X^T X are constant.
#pragma once

#include <mutex>

#include "grokflow/models/samples.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class LinearRegression final : public Problem {
 public:
  LinearRegression(Samples train, std::optional<Samples> test);

  bool is_quadratic() const override { return true; }
  bool has_hvp() const override { return true; }
  bool has_hvp_through() const override { return true; }
  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const override;
  std::vector<Quantity> quantities() const override;

  /// out = X w.
  void predict(const ConstVectorRef& w, const Matrix& X, VectorRef out) const;

 private:
  class At;

  WorkspacePool<Vector>::Lease scratch() const;
  /// X X^T, made when the first K is asked for.
  const Matrix& kernel() const;

  Samples train_;
  std::optional<Samples> test_;
  mutable std::once_flag kernel_once_;
  mutable Matrix kernel_;
  mutable WorkspacePool<Vector> pool_;  ///< vectors of n numbers
};

}  // namespace grokflow
