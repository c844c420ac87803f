// Problems from functions of one's own. The residual r_i = w_i w_{i+1} - y_i:
//
//   grokflow::LeastSquares::Functions chain;
//   chain.residual = [&](const auto& w, auto out) { out = w.head(n).cwiseProduct(w.tail(n)) - y; };
//   chain.jvp = [&](const auto& w, const auto& v, auto out) {
//     out = w.head(n).cwiseProduct(v.tail(n)) + w.tail(n).cwiseProduct(v.head(n));
//   };
//   chain.vjp = [&](const auto& w, const auto& u, auto out) {
//     out.setZero();
//     out.tail(n) += w.head(n).cwiseProduct(u);
//     out.head(n) += w.tail(n).cwiseProduct(u);
//   };
//   auto problem = std::make_shared<grokflow::LeastSquares>(n + 1, n, chain);
//
// They are called by the thread that solves, one at a time, and from several threads only if several solve.
// What they throw reaches whoever called the solver. `check_problem` (check.hpp) tells which of them is
// wrong. A problem of one's own (problem.hpp) may keep what it computed at w, and offer K.
#pragma once

#include <functional>

#include "grokflow/problem.hpp"

namespace grokflow {

/// out = f(w).
using Function = std::function<void(const ConstVectorRef& w, VectorRef out)>;
/// out = the derivative at w, applied to v.
using Product = std::function<void(const ConstVectorRef& w, const ConstVectorRef& v, VectorRef out)>;

/// F(w) = (c/2) ||r(w)||^2.
class LeastSquares final : public Problem {
 public:
  struct Functions {
    Function residual;  ///< r(w)
    Product jvp;        ///< J v
    Product vjp;        ///< J^T u
    Product hvp = {};   ///< Hess F(w) v, with the factor c; without it the solver differentiates J^T r itself
    std::vector<Block> blocks = {};  ///< the named parts of w, which tile 0..d; default: one, "w"
  };

  /// d parameters, n residuals and c = 1/n, or another. Throws std::invalid_argument if a function is
  /// missing.
  LeastSquares(Index num_params, Index num_residuals, Functions functions);
  LeastSquares(Index num_params, Index num_residuals, Functions functions, double scale);

  bool has_hvp() const override { return static_cast<bool>(functions_.hvp); }
  void residual(const ConstVectorRef& w, VectorRef out) const override { functions_.residual(w, out); }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  std::vector<Block> blocks() const override { return functions_.blocks; }

 private:
  Functions functions_;
};

/// A smooth loss that need not be a sum of squares.
class Objective final : public Problem {
 public:
  struct Functions {
    std::function<double(const ConstVectorRef& w)> loss;
    Function gradient;
    Product hvp = {};                ///< Hess F(w) v; without it explicit methods only: ROCK2
    std::vector<Block> blocks = {};  ///< as above
  };

  /// Throws std::invalid_argument if a function is missing.
  Objective(Index num_params, Functions functions);

  bool has_hvp() const override { return static_cast<bool>(functions_.hvp); }
  double loss(const ConstVectorRef& w) const override { return functions_.loss(w); }
  void gradient(const ConstVectorRef& w, VectorRef out) const override { functions_.gradient(w, out); }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  std::vector<Block> blocks() const override { return functions_.blocks; }

 private:
  Functions functions_;
};

}  // namespace grokflow
