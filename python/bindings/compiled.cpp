// Problems of compiled functions: what the user's pointers compute, called without the GIL.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "grokflow/callbacks.h"
#include "grokflow/problem.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

struct Pointer {
  std::uintptr_t address = 0, data = 0;

  explicit operator bool() const { return address != 0; }

  /// out = function(w), or function(w, v); nan where it has no value.
  void operator()(const ConstVectorRef& w, VectorRef out) const {
    const auto function = reinterpret_cast<grokflow_function>(address);
    if (function(w.data(), out.data(), reinterpret_cast<void*>(data)) != 0) refuse(out);
  }
  void operator()(const ConstVectorRef& w, const ConstVectorRef& v, VectorRef out) const {
    const auto function = reinterpret_cast<grokflow_product>(address);
    if (function(w.data(), v.data(), out.data(), reinterpret_cast<void*>(data)) != 0) refuse(out);
  }

 private:
  static void refuse(VectorRef out) { out.setConstant(std::numeric_limits<double>::quiet_NaN()); }
};

class CompiledProblem final : public Problem {
 public:
  using Pointers = std::map<std::string, std::tuple<std::uintptr_t, std::uintptr_t>>;

  CompiledProblem(Index num_params, Index num_residuals, double scale, const Pointers& pointers,
                  std::vector<Block> blocks)
      : Problem(num_params, num_residuals, scale), blocks_(std::move(blocks)) {
    const auto find = [&pointers](const char* name) {
      const auto found = pointers.find(name);
      if (found == pointers.end()) return Pointer{};
      return Pointer{std::get<0>(found->second), std::get<1>(found->second)};
    };
    residual_ = find("residual");
    jvp_ = find("jvp");
    vjp_ = find("vjp");
    loss_ = find("loss");
    gradient_ = find("gradient");
    hvp_ = find("hvp");
  }

  bool has_hvp() const override { return bool(hvp_); }
  std::vector<Block> blocks() const override { return blocks_; }

  void residual(const ConstVectorRef& w, VectorRef out) const override {
    residual_ ? residual_(w, out) : Problem::residual(w, out);
  }
  double loss(const ConstVectorRef& w) const override {
    if (!loss_) return Problem::loss(w);
    Eigen::Matrix<double, 1, 1> value(std::numeric_limits<double>::quiet_NaN());  // unless it is set
    loss_(w, value);
    return value[0];
  }
  void gradient(const ConstVectorRef& w, VectorRef out) const override {
    gradient_ ? gradient_(w, out) : Problem::gradient(w, out);
  }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override {
    if (!lin) lin = std::make_unique<At>(*this);
    static_cast<At&>(*lin).w = w;
  }

 private:
  struct At final : Linearization {
    explicit At(const CompiledProblem& problem)
        : Linearization(problem.num_params(), problem.num_residuals()), problem(problem) {}
    void jvp(const ConstVectorRef& v, VectorRef out) const override { problem.jvp_(w, v, out); }
    void vjp(const ConstVectorRef& u, VectorRef out) const override { problem.vjp_(w, u, out); }
    void hvp(const ConstVectorRef& v, VectorRef out) const override {
      problem.hvp_ ? problem.hvp_(w, v, out) : Linearization::hvp(v, out);
    }
    const CompiledProblem& problem;
    Vector w;
  };

  Pointer residual_, jvp_, vjp_, loss_, gradient_, hvp_;
  std::vector<Block> blocks_;
};

}  // namespace

void bind_compiled(py::module_& m) {
  using NamedShape = std::tuple<std::string, std::vector<Index>>;
  py::class_<CompiledProblem, Problem, std::shared_ptr<CompiledProblem>>(m, "CompiledProblem")
      .def(py::init([](Index num_params, Index num_residuals, double scale,
                       const CompiledProblem::Pointers& pointers, const std::vector<NamedShape>& parameters) {
             std::vector<Block> blocks;
             Index begin = 0;
             for (const auto& [name, shape] : parameters) {
               blocks.push_back({name, begin, shape});
               begin += blocks.back().size();
             }
             return std::make_shared<CompiledProblem>(num_params, num_residuals, scale, pointers,
                                                      std::move(blocks));
           }),
           py::arg("num_params"), py::arg("num_residuals"), py::arg("scale"), py::arg("pointers"),
           py::arg("parameters"));
}
