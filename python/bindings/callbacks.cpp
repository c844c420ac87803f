// The problem that the user wrote in Python, behind `LeastSquares`, `Objective` and the outputs of `OutputModel`.
//
// The solver runs without the GIL, which is taken for each call. All Python functions belong to the problem, which
// only its Python object owns: the garbage collector sees whatever refers to them. A linearisation holds nothing of
// Python but the array of its own point w, the same object in every call.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "callback.hpp"
#include "collected.hpp"
#include "grokflow/problem.hpp"
#include "grokflow/workspace.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

constexpr double kRate = 3e10;  // operations a second, of a product of matrices on one core of today

class CallbackProblem final : public Problem {
 public:
  using Functions = std::map<std::string, py::object>;

  /// `functions` by their names below. Requires residual (or, of a model, outputs) of that shape, and (jvp and
  /// vjp, or jacobian); or, where the shape is empty, loss and gradient.
  CallbackProblem(Index num_params, Shape residuals, double scale, const Functions& functions,
                  std::vector<Block> blocks);

  bool has_hvp() const override { return hvp_.given(); }
  bool has_hvp_through() const override { return hvp_.given(); }
  bool has_hessian() const override { return hvp_.given() || hessian_.given(); }
  bool solves() const override { return solve_.given(); }

  void residual(const ConstVectorRef& w, VectorRef out) const override;
  double loss(const ConstVectorRef& w) const override;
  void gradient(const ConstVectorRef& w, VectorRef out) const override;
  void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const override;
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override;
  std::vector<Block> blocks() const override { return blocks_; }
  Cost cost() const override { return cost_ ? *cost_ : Problem::cost(); }

  /// What the gradient was measured to take, in seconds, and K, or nan where products with J and J^T make it.
  void measured(double gradient, double gram) {
    const double n = static_cast<double>(num_residuals());
    cost_ = {kRate * gradient, kRate * (std::isnan(gram) ? n * gradient : gram), true};
  }

  /// Whether the user gave J itself.
  bool has_jacobian() const { return jacobian_.given(); }
  /// Jt (d x n, column-major) = J^T: the memory of J (n x d, row-major).
  void jacobian(const ConstVectorRef& w, MatrixRef Jt) const;

  /// All functions, for the garbage collector.
  std::array<Callback*, 12> callbacks();

 private:
  struct At;
  struct Scratch {
    Vector r;
    Matrix Jt;
  };
  WorkspacePool<Scratch>::Lease borrow() const;

  bool is_model_;  // of outputs, on which a loss is put
  Shape params_, residuals_, jacobian_shape_;
  Callback residual_, linearize_, jvp_, vjp_, jacobian_, gram_, gram_of_, hvp_, hessian_, solve_, loss_,
      gradient_;
  std::vector<Block> blocks_;
  std::optional<Cost> cost_;
  mutable Argument w_, u_;
  mutable WorkspacePool<Scratch> pool_;
};

py::object find(const CallbackProblem::Functions& functions, const char* name) {
  const auto found = functions.find(name);
  return found == functions.end() ? py::object() : found->second;
}

/// The functions at a point. With no jvp or vjp from the user, J is taken once, at the start; so are the outputs of
/// a model, and what `linearize` makes of them.
struct CallbackProblem::At final : Linearization {
  explicit At(const CallbackProblem& problem)
      : Linearization(problem.num_params(), problem.num_residuals()),
        problem(problem),
        w(problem.params_),
        v(problem.params_),
        u(problem.residuals_) {}

  void refill(const ConstVectorRef& point) {
    const Locked locked;
    w.fill(point);
    if (problem.is_model_) {
      f.resize(num_residuals());
      if (problem.linearize_.given())
        state.emplace(problem.linearize_.first({w.array()}, problem.residuals_, f.data()));
      else
        problem.residual_({w.array()}, problem.residuals_, f.data());
    }
    if (num_residuals() == 0 || (problem.jvp_.given() && problem.vjp_.given())) return;
    Jt.resize(num_params(), num_residuals());
    problem.jacobian_({w.array()}, problem.jacobian_shape_, Jt.data());
  }

  /// What the functions are told of the point.
  const py::object& here() const { return state ? state->object() : w.array(); }

  const Vector* scaled_residual() const override { return problem.is_model_ ? &f : nullptr; }

  void jvp(const ConstVectorRef& x, VectorRef out) const override {
    if (problem.jvp_.given())
      product(problem.jvp_, v, x, problem.residuals_, out);
    else
      apply_transposed(Jt, x, out);
  }

  void vjp(const ConstVectorRef& x, VectorRef out) const override {
    if (problem.vjp_.given())
      product(problem.vjp_, u, x, problem.params_, out);
    else
      apply(Jt, x, out);
  }

  void hvp(const ConstVectorRef& x, VectorRef out) const override {
    if (!problem.hvp_.given()) return Linearization::hvp(x, out);
    product(problem.hvp_, v, x, problem.params_, out);
  }

  /// By the user's hvp, which knows the loss on top of these outputs.
  void hvp_through(const ConstVectorRef&, const OnResiduals&, const ConstVectorRef& x,
                   VectorRef out) const override {
    hvp(x, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const bool whole = begin == 0 && end == num_params();
    if (problem.gram_of_.given() || (problem.gram_.given() && whole)) {
      const Locked locked;
      if (problem.gram_.given() && whole) return matrix(problem.gram_, {here()}, K);
      return matrix(problem.gram_of_, {here(), py::int_(begin), py::int_(end)}, K);
    }
    if (!problem.jacobian_.given())
      Linearization::gram(begin, end, K);
    else if (Jt.size() > 0)
      column_gram(Jt.middleRows(begin, end - begin), K);
    else {
      auto scratch = problem.borrow();
      scratch->Jt.resize(num_params(), num_residuals());
      {
        const Locked locked;
        problem.jacobian_({w.array()}, problem.jacobian_shape_, scratch->Jt.data());
      }
      column_gram(scratch->Jt.middleRows(begin, end - begin), K);
    }
  }

  void hessian(MatrixRef H) const override {
    if (!problem.hessian_.given()) Linearization::hessian(H);
    const Locked locked;
    if (problem.hessian_.given()) return matrix(problem.hessian_, {here()}, H);
    problem.hvp_.symmetrise(H);
  }

  void product(const Callback& callback, Argument& argument, const ConstVectorRef& x, const Shape& shape,
               VectorRef out) const {
    const Locked locked;
    callback({here(), argument.fill(x)}, shape, out.data());
  }

  bool solve(const ConstVectorRef& alpha, double beta, double tolerance, VectorRef x) const override {
    const Locked locked;
    const py::object scale = alpha.size() == 1 ? py::object(py::float_(alpha[0])) : copy_of(alpha);
    return problem.solve_.optional({here(), scale, py::float_(beta), v.fill(x), py::float_(tolerance)},
                                   problem.params_, x.data());
  }

  /// With the GIL: the arguments are Python's.
  void matrix(const Callback& callback, std::initializer_list<py::object> arguments, MatrixRef A) const {
    const Index m = A.rows();
    if (A.outerStride() == m) {
      callback(arguments, {m, m}, A.data());
    } else {
      Matrix packed(m, m);
      callback(arguments, {m, m}, packed.data());
      A = packed;
    }
    callback.symmetrise(A);  // which also makes row-major and column-major one
  }

  const CallbackProblem& problem;
  Argument w;
  mutable Argument v, u;
  std::optional<Held> state;
  Vector f;   ///< the outputs of a model
  Matrix Jt;  ///< d x n; empty if the user gave jvp and vjp
};

CallbackProblem::CallbackProblem(Index num_params, Shape residuals, double scale, const Functions& functions,
                                 std::vector<Block> blocks)
    : Problem(num_params, residuals.empty() ? 0 : size_of(residuals), scale),
      is_model_(functions.count("outputs") > 0),
      params_{num_params},
      residuals_(std::move(residuals)),
      jacobian_shape_{num_residuals(), num_params},
      residual_(is_model_ ? "outputs" : "residual", find(functions, is_model_ ? "outputs" : "residual")),
      linearize_("linearize", find(functions, "linearize")),
      jvp_("jvp", find(functions, "jvp")),
      vjp_("vjp", find(functions, "vjp")),
      jacobian_("jacobian", find(functions, "jacobian")),
      gram_("gram", find(functions, "gram")),
      gram_of_("gram", find(functions, "gram_of")),
      hvp_("hvp", find(functions, "hvp")),
      hessian_("hessian", find(functions, "hessian")),
      solve_("solve", find(functions, "solve")),
      loss_("loss", find(functions, "loss")),
      gradient_("gradient", find(functions, "gradient")),
      blocks_(std::move(blocks)),
      w_(params_),
      u_(residuals_) {}

std::array<Callback*, 12> CallbackProblem::callbacks() {
  return {&residual_, &linearize_, &jvp_,     &vjp_,   &jacobian_, &gram_,
          &gram_of_,  &hvp_,       &hessian_, &solve_, &loss_,     &gradient_};
}

WorkspacePool<CallbackProblem::Scratch>::Lease CallbackProblem::borrow() const {
  return pool_.borrow([] { return std::make_unique<Scratch>(); });
}

void CallbackProblem::residual(const ConstVectorRef& w, VectorRef out) const {
  if (!residual_.given()) return Problem::residual(w, out);
  const Locked locked;
  residual_({w_.fill(w)}, residuals_, out.data());
}

double CallbackProblem::loss(const ConstVectorRef& w) const {
  if (!loss_.given()) return Problem::loss(w);
  const Locked locked;
  double value;
  loss_({w_.fill(w)}, {}, &value);
  return value;
}

void CallbackProblem::gradient(const ConstVectorRef& w, VectorRef out) const {
  if (!gradient_.given()) return Problem::gradient(w, out);
  const Locked locked;
  gradient_({w_.fill(w)}, params_, out.data());
}

// All functions get the same array object, so that one which keeps what it computed at this w may tell by `is` that
// the other asks for the same point.
void CallbackProblem::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                       VectorRef out) const {
  const Locked locked;
  py::object point = w_.fill(w);
  auto scratch = borrow();
  scratch->r.resize(num_residuals());
  if (linearize_.given())
    point = linearize_.first({point}, residuals_, scratch->r.data());
  else
    residual_({point}, residuals_, scratch->r.data());
  {
    const Unlocked unlocked;
    outer(scratch->r);
  }
  if (vjp_.given()) return vjp_({point, u_.fill(scratch->r)}, params_, out.data());
  scratch->Jt.resize(num_params(), num_residuals());
  jacobian_({point}, jacobian_shape_, scratch->Jt.data());
  const Unlocked unlocked;
  apply(scratch->Jt, scratch->r, out);
}

void CallbackProblem::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At*>(lin.get())->refill(w);
}

void CallbackProblem::jacobian(const ConstVectorRef& w, MatrixRef Jt) const {
  const Locked locked;
  jacobian_({w_.fill(w)}, jacobian_shape_, Jt.data());
}

using NamedShape = std::tuple<std::string, std::vector<Index>>;

std::shared_ptr<CallbackProblem> make_problem(Index num_params, Shape residuals, double scale,
                                              const CallbackProblem::Functions& functions,
                                              const std::vector<NamedShape>& parameters) {
  std::vector<Block> blocks;
  Index begin = 0;
  for (const auto& [name, shape] : parameters) {
    blocks.push_back({name, begin, shape});
    begin += blocks.back().size();
  }
  return std::make_shared<CallbackProblem>(num_params, std::move(residuals), scale, functions,
                                           std::move(blocks));
}

RowMajorMatrix jacobian(const CallbackProblem& problem, const ConstVectorRef& w) {
  RowMajorMatrix J(problem.num_residuals(), problem.num_params());
  problem.jacobian(w, Eigen::Map<Matrix>(J.data(), J.cols(), J.rows()));
  return J;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (CallbackProblem* problem = object_of<CallbackProblem>(self))
    for (Callback* callback : problem->callbacks()) Py_VISIT(callback->function().ptr());
  return 0;
}

int clear(PyObject* self) {
  if (CallbackProblem* problem = object_of<CallbackProblem>(self))
    for (Callback* callback : problem->callbacks()) callback->function() = py::object();
  return 0;
}

void collect_garbage(PyHeapTypeObject* heap_type) {
  heap_type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  heap_type->ht_type.tp_traverse = traverse;
  heap_type->ht_type.tp_clear = clear;
}

}  // namespace

void bind_callbacks(py::module_& m) {
  py::class_<CallbackProblem, Problem, std::shared_ptr<CallbackProblem>>(
      m, "CallbackProblem", py::custom_type_setup(collect_garbage))
      .def(py::init(&make_problem), py::arg("num_params"), py::arg("residuals"), py::arg("scale"),
           py::arg("functions"), py::arg("parameters"))
      .def("measured", &CallbackProblem::measured, py::arg("gradient"), py::arg("gram"))
      .def("given_jacobian", &jacobian, py::arg("w"), py::call_guard<Unlocked>());
}
