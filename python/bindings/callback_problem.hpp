// The problem that the user wrote in Python, behind `LeastSquares` and `Objective`.
//
// The solver runs without the GIL, which is acquired for each call. All Python functions belong to the
// problem. A linearisation holds nothing of Python but the array of its own point w, the same object in every
// call, which a function may keep: a point that is still referred to when the solver is done with it is
// left alone, and the next linearisation takes new memory.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "callback.hpp"
#include "grokflow/problem.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class CallbackProblem final : public Problem {
 public:
  using Functions = std::map<std::string, py::object>;

  /// `functions` by their names below. Requires residual and (jvp and vjp, or jacobian); or, for
  /// num_residuals = 0, loss and gradient.
  CallbackProblem(Index num_params, Index num_residuals, double scale, const Functions& functions,
                  std::vector<Block> blocks);
  ~CallbackProblem() override;

  bool has_hvp() const override { return hvp_.given(); }
  bool has_hessian() const override { return hvp_.given() || hessian_.given(); }

  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  std::vector<Block> blocks() const override { return blocks_; }

  /// Whether the user gave J itself.
  bool has_jacobian() const { return jacobian_.given(); }
  /// Jt (d x n, column-major) = J^T: the memory of J (n x d, row-major).
  void jacobian(const ConstVectorRef& w, MatrixRef Jt) const;

  /// All functions, for the garbage collector.
  std::array<Callback*, 9> callbacks();

 private:
  struct At;
  struct Scratch {
    Vector r;
    Matrix Jt;
  };
  WorkspacePool<Scratch>::Lease borrow() const;

  Callback residual_, jvp_, vjp_, jacobian_, gram_, hvp_, hessian_, loss_, gradient_;
  std::vector<Block> blocks_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
