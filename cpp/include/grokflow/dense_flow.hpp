// dw/dt = f(t, w) for any f with a dense Jacobian df/dw, solved by LU: the integrators by themselves, for systems
// that are no gradient flows. Time is counted from the start of the run.
#pragma once

#include <functional>

#include "grokflow/flow.hpp"

namespace grokflow {

class DenseFlow final : public Flow {
 public:
  using Field = std::function<void(double t, const ConstVectorRef& w, VectorRef out)>;
  using Jacobian = std::function<void(double t, const ConstVectorRef& w, MatrixRef out)>;

  DenseFlow(Index size, Field field, Jacobian jacobian);

  Index size() const override { return size_; }

 protected:
  void compute_rhs(const ConstVectorRef& w, VectorRef out) override { field_(time(), w, out); }
  void compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) override;

 private:
  Index size_;
  Field field_;
  Jacobian jacobian_;
};

}  // namespace grokflow
