#include "grokflow/functions.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace grokflow {
namespace {

template <class F>
const F& required(const char* name, const F& function) {
  if (!function) throw std::invalid_argument(std::string(name) + " is missing; give it as a function");
  return function;
}

std::vector<Block> tiling(std::vector<Block> blocks, Index num_params) {
  if (blocks.empty()) return {{"w", 0, {num_params}}};
  Index end = 0;
  for (const Block& block : blocks) {
    if (block.begin != end || block.size() < 1)
      throw std::invalid_argument("block '" + block.name + "' does not begin where the one before it ends");
    end += block.size();
  }
  if (end != num_params)
    throw std::invalid_argument("the blocks hold " + std::to_string(end) + " entries; num_params is " +
                                std::to_string(num_params));
  return blocks;
}

/// The functions at a point. Those that are not given throw as a linearisation without them does.
struct At final : Linearization {
  At(const Problem& problem, const Product& jvp, const Product& vjp, const Product& hvp)
      : Linearization(problem.num_params(), problem.num_residuals()), Jv(jvp), JTu(vjp), Hv(hvp) {}

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    Jv ? Jv(w, v, out) : Linearization::jvp(v, out);
  }
  void vjp(const ConstVectorRef& u, VectorRef out) const override {
    JTu ? JTu(w, u, out) : Linearization::vjp(u, out);
  }
  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    Hv ? Hv(w, v, out) : Linearization::hvp(v, out);
  }

  const Product &Jv, &JTu, &Hv;
  Vector w;
};

void freeze(const Problem& problem, const Product& jvp, const Product& vjp, const Product& hvp,
            const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) {
  if (!lin) lin = std::make_unique<At>(problem, jvp, vjp, hvp);
  static_cast<At&>(*lin).w = w;
}

const Product kNone;

}  // namespace

LeastSquares::LeastSquares(Index num_params, Index num_residuals, Functions functions)
    : LeastSquares(num_params, num_residuals, std::move(functions),
                   1.0 / static_cast<double>(num_residuals)) {}

LeastSquares::LeastSquares(Index num_params, Index num_residuals, Functions functions, double scale)
    : Problem(num_params, num_residuals, scale), functions_(std::move(functions)) {
  if (num_residuals == 0) throw std::invalid_argument("least squares need at least one residual");
  functions_.blocks = tiling(std::move(functions_.blocks), num_params);
  required("residual", functions_.residual);
  required("jvp", functions_.jvp);
  required("vjp", functions_.vjp);
}

void LeastSquares::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  freeze(*this, functions_.jvp, functions_.vjp, functions_.hvp, w, lin);
}

Objective::Objective(Index num_params, Functions functions)
    : Problem(num_params, 0, 1.0), functions_(std::move(functions)) {
  functions_.blocks = tiling(std::move(functions_.blocks), num_params);
  required("loss", functions_.loss);
  required("gradient", functions_.gradient);
}

void Objective::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  freeze(*this, kNone, kNone, functions_.hvp, w, lin);
}

}  // namespace grokflow
