// dw/dt = f(w) for any f with a dense Jacobian, solved by LU. It exists so that the integrators can be held
// against the standard stiff test problems, which are no gradient flows.
#pragma once

#include <functional>

#include "grokflow/flow.hpp"

namespace grokflow {

class DenseFlow final : public Flow {
 public:
  using Field = std::function<void(const ConstVectorRef& w, VectorRef out)>;
  using Jacobian = std::function<void(const ConstVectorRef& w, MatrixRef out)>;

  DenseFlow(Index size, Field field, Jacobian jacobian);

  bool may_be_noisy() const override { return true; }
  Index size() const override { return size_; }

 protected:
  void compute_rhs(const ConstVectorRef& w, VectorRef out) override { field_(w, out); }
  void compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) override;

 private:
  Index size_;
  Field field_;
  Jacobian jacobian_;
};

}  // namespace grokflow
