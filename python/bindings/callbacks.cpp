// The problem that the user wrote in Python, behind `LeastSquares` and `Objective`.
//
// The solver runs without the GIL, which is taken for each call. All Python functions belong to the problem, which
// only its Python object owns: the garbage collector sees whatever refers to them. A linearisation holds nothing of
// Python but the array of its own point w, the same object in every call.
#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "gil.hpp"
#include "grokflow/problem.hpp"
#include "grokflow/workspace.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

/// An argument of the user's functions: a read-only array of its own. It is filled again if nobody else refers to
/// it, and else left for ever to those who do: a reference count decides whether memory is used again, never whether
/// it is valid. There are two, so that a function which keeps its last argument costs no new memory. With the GIL.
class Argument {
 public:
  Argument() = default;
  Argument(const Argument&) = delete;
  ~Argument() {  // in any thread
    const py::handle arrays[] = {array_.release(), spare_.release()};
    if (!Py_IsInitialized()) return;  // the interpreter is gone, and its memory with it
    const Locked locked;
    for (const py::handle array : arrays) array.dec_ref();
  }

  /// The array, as it was filled last.
  const py::object& array() const { return array_; }

  const py::object& fill(const ConstVectorRef& x) {
    if (!is_free(array_, x.size())) std::swap(array_, spare_);
    if (!is_free(array_, x.size())) array_ = make(x.size());
    std::copy_n(x.data(), x.size(), reinterpret_cast<double*>(py::detail::array_proxy(array_.ptr())->data));
    return array_;
  }

 private:
  static bool is_free(const py::object& array, Index size) {
    return array && Py_REFCNT(array.ptr()) == 1 && !*PyObject_GET_WEAKREFS_LISTPTR(array.ptr()) &&
           py::detail::array_proxy(array.ptr())->dimensions[0] == size;
  }

  static py::array make(Index size) {
    std::unique_ptr<double[]> memory(new double[static_cast<std::size_t>(size)]);
    const py::capsule owner(memory.get(), [](void* data) { delete[] static_cast<double*>(data); });
    const double* data = memory.release();
    // The base is no array, so NumPy refuses `flags.writeable = True`, and every slice refers to this array itself.
    py::array array(py::dtype::of<double>(), {size}, {Index{sizeof(double)}}, data, owner);
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
  }

  py::object array_, spare_;
};

/// A function of the user's, whose results are checked and copied. With the GIL.
class Callback {
 public:
  Callback(const char* name, py::object function) : name_(name), function_(std::move(function)) {}

  bool given() const { return bool(function_); }

  /// The result of `function(*arguments)`: entries of an array of that shape, row-major.
  void operator()(std::initializer_list<py::object> arguments, std::initializer_list<Index> shape,
                  double* out) const {
    if (!given()) throw std::runtime_error(std::string(name_) + " was cleared by the garbage collector");
    store(call(function_, arguments), shape, out);
  }

  /// Replaces A, n x n and contiguous, which this function returned, by (A + A^T)/2. A matrix that is far
  /// from symmetric is an error: a factorisation reads one triangle and would hide it. Far is measured against
  /// the largest matrix so far: where a Hessian sinks because its terms cancel, their round-off stays.
  void symmetrise(MatrixRef A) const;

  py::object& function() { return function_; }

 private:
  void store(const py::object& result, std::initializer_list<Index> shape, double* out) const;

  const char* name_;
  py::object function_;
  mutable std::atomic<bool> single_precision_{false};
  mutable std::atomic<double> largest_{0.0};  // entry of the matrices that this function returned
};

void Callback::store(const py::object& result, std::initializer_list<Index> shape, double* out) const {
  if (shape.size() == 0 && PyFloat_Check(result.ptr())) {
    *out = PyFloat_AS_DOUBLE(result.ptr());
    return;
  }
  using DoubleArray = py::array_t<double, py::array::c_style>;
  const auto fits = [&](const py::handle& object) {
    if (!DoubleArray::check_(object)) return false;
    const auto* array = py::detail::array_proxy(object.ptr());
    return std::size_t(array->nd) == shape.size() &&
           std::equal(shape.begin(), shape.end(), array->dimensions);
  };
  py::object array = result;
  if (!fits(result)) {
    const py::tuple converted =
        support("convert")(name_, result, py::tuple(py::cast(std::vector<Index>(shape))));
    array = converted[0];
    if (converted[1].cast<bool>() && !single_precision_.exchange(true)) support("warn_precision")(name_);
  }
  const Index size = std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<Index>());
  std::memcpy(out, py::detail::array_proxy(array.ptr())->data, std::size_t(size) * sizeof(double));
}

void Callback::symmetrise(MatrixRef A) const {
  const double largest = std::max(A.cwiseAbs().maxCoeff(), largest_.load());
  double asymmetry = 0.0;
  for (Index j = 0; j < A.cols(); ++j)
    for (Index i = 0; i < j; ++i) {
      asymmetry = std::max(asymmetry, std::abs(A(i, j) - A(j, i)));  // nan: left to the solver
      A(i, j) = A(j, i) = 0.5 * (A(i, j) + A(j, i));
    }
  if (std::isfinite(largest)) largest_ = largest;
  const double tolerance = single_precision_ ? 1e-5 : 1e-8;
  if (asymmetry > tolerance * largest) support("raise_asymmetric")(name_, asymmetry / largest, tolerance);
}

class CallbackProblem final : public Problem {
 public:
  using Functions = std::map<std::string, py::object>;

  /// `functions` by their names below. Requires residual and (jvp and vjp, or jacobian); or, for
  /// num_residuals = 0, loss and gradient.
  CallbackProblem(Index num_params, Index num_residuals, double scale, const Functions& functions,
                  std::vector<Block> blocks);

  bool has_hvp() const override { return hvp_.given(); }
  bool may_be_noisy() const override { return true; }
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
  mutable Argument w_, v_, u_;
  mutable WorkspacePool<Scratch> pool_;
};

py::object find(const CallbackProblem::Functions& functions, const char* name) {
  const auto found = functions.find(name);
  return found == functions.end() ? py::object() : found->second;
}

/// The functions at a point. With no jvp or vjp from the user, J is taken once, at the start.
struct CallbackProblem::At final : Linearization {
  explicit At(const CallbackProblem& problem)
      : Linearization(problem.num_params(), problem.num_residuals()), problem(problem) {}

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    if (problem.jvp_.given())
      product(problem.jvp_, problem.v_, v, out);
    else
      apply_transposed(Jt, v, out);
  }

  void vjp(const ConstVectorRef& u, VectorRef out) const override {
    if (problem.vjp_.given())
      product(problem.vjp_, problem.u_, u, out);
    else
      apply(Jt, u, out);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    if (!problem.hvp_.given()) return Linearization::hvp(v, out);
    product(problem.hvp_, problem.v_, v, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    if (problem.gram_.given() && begin == 0 && end == num_params())
      matrix(problem.gram_, K);
    else if (!problem.jacobian_.given())
      Linearization::gram(begin, end, K);
    else if (Jt.size() > 0)
      column_gram(Jt.middleRows(begin, end - begin), K);
    else {
      auto scratch = problem.borrow();
      scratch->Jt.resize(num_params(), num_residuals());
      {
        const Locked locked;
        problem.jacobian_({w.array()}, {num_residuals(), num_params()}, scratch->Jt.data());
      }
      column_gram(scratch->Jt.middleRows(begin, end - begin), K);
    }
  }

  void hessian(MatrixRef H) const override {
    if (problem.hessian_.given()) return matrix(problem.hessian_, H);
    Linearization::hessian(H);
    const Locked locked;
    problem.hvp_.symmetrise(H);
  }

  void product(const Callback& callback, Argument& argument, const ConstVectorRef& x, VectorRef out) const {
    const Locked locked;
    callback({w.array(), argument.fill(x)}, {out.size()}, out.data());
  }

  void matrix(const Callback& callback, MatrixRef A) const {
    const Locked locked;
    const Index m = A.rows();
    if (A.outerStride() == m) {
      callback({w.array()}, {m, m}, A.data());
    } else {
      Matrix packed(m, m);
      callback({w.array()}, {m, m}, packed.data());
      A = packed;
    }
    callback.symmetrise(A);  // which also makes row-major and column-major one
  }

  const CallbackProblem& problem;
  Argument w;
  Matrix Jt;  ///< d x n; empty if the user gave jvp and vjp
};

CallbackProblem::CallbackProblem(Index num_params, Index num_residuals, double scale,
                                 const Functions& functions, std::vector<Block> blocks)
    : Problem(num_params, num_residuals, scale),
      residual_("residual", find(functions, "residual")),
      jvp_("jvp", find(functions, "jvp")),
      vjp_("vjp", find(functions, "vjp")),
      jacobian_("jacobian", find(functions, "jacobian")),
      gram_("gram", find(functions, "gram")),
      hvp_("hvp", find(functions, "hvp")),
      hessian_("hessian", find(functions, "hessian")),
      loss_("loss", find(functions, "loss")),
      gradient_("gradient", find(functions, "gradient")),
      blocks_(std::move(blocks)) {}

std::array<Callback*, 9> CallbackProblem::callbacks() {
  return {&residual_, &jvp_, &vjp_, &jacobian_, &gram_, &hvp_, &hessian_, &loss_, &gradient_};
}

WorkspacePool<CallbackProblem::Scratch>::Lease CallbackProblem::borrow() const {
  return pool_.borrow([] { return std::make_unique<Scratch>(); });
}

void CallbackProblem::residual(const ConstVectorRef& w, VectorRef out) const {
  if (!residual_.given()) return Problem::residual(w, out);
  const Locked locked;
  residual_({w_.fill(w)}, {num_residuals()}, out.data());
}

double CallbackProblem::loss(const ConstVectorRef& w) const {
  if (!loss_.given()) return Problem::loss(w);
  const Locked locked;
  double value;
  loss_({w_.fill(w)}, {}, &value);
  return value;
}

// grad F = c J^T r. Both functions get the same array object, so that one which keeps what it computed at
// this w may tell by `is` that the other asks for the same point.
void CallbackProblem::gradient(const ConstVectorRef& w, VectorRef out) const {
  const Locked locked;
  const py::object point = w_.fill(w);
  if (gradient_.given()) return gradient_({point}, {num_params()}, out.data());
  auto scratch = borrow();
  scratch->r.resize(num_residuals());
  residual_({point}, {num_residuals()}, scratch->r.data());
  scratch->r *= scale();
  if (vjp_.given()) return vjp_({point, u_.fill(scratch->r)}, {num_params()}, out.data());
  scratch->Jt.resize(num_params(), num_residuals());
  jacobian_({point}, {num_residuals(), num_params()}, scratch->Jt.data());
  const Unlocked unlocked;
  apply(scratch->Jt, scratch->r, out);
}

void CallbackProblem::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  const Locked locked;
  if (!lin) lin = std::make_unique<At>(*this);
  auto* at = static_cast<At*>(lin.get());
  at->w.fill(w);
  if (num_residuals() == 0 || (jvp_.given() && vjp_.given())) return;
  at->Jt.resize(num_params(), num_residuals());
  jacobian_({at->w.array()}, {num_residuals(), num_params()}, at->Jt.data());
}

void CallbackProblem::jacobian(const ConstVectorRef& w, MatrixRef Jt) const {
  const Locked locked;
  jacobian_({w_.fill(w)}, {num_residuals(), num_params()}, Jt.data());
}

using NamedShape = std::tuple<std::string, std::vector<Index>>;

std::shared_ptr<CallbackProblem> make_problem(Index num_params, Index num_residuals, double scale,
                                              const CallbackProblem::Functions& functions,
                                              const std::vector<NamedShape>& parameters) {
  std::vector<Block> blocks;
  Index begin = 0;
  for (const auto& [name, shape] : parameters) {
    blocks.push_back({name, begin, shape});
    begin += blocks.back().size();
  }
  return std::make_shared<CallbackProblem>(num_params, num_residuals, scale, functions, std::move(blocks));
}

RowMajorMatrix jacobian(const CallbackProblem& problem, const ConstVectorRef& w) {
  RowMajorMatrix J(problem.num_residuals(), problem.num_params());
  problem.jacobian(w, Eigen::Map<Matrix>(J.data(), J.cols(), J.rows()));
  return J;
}

/// Null while Python makes the object.
CallbackProblem* problem_of(PyObject* self) {
  auto made = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
  return made.holder_constructed() ? made.value_ptr<CallbackProblem>() : nullptr;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (CallbackProblem* problem = problem_of(self))
    for (Callback* callback : problem->callbacks()) Py_VISIT(callback->function().ptr());
  return 0;
}

int clear(PyObject* self) {
  if (CallbackProblem* problem = problem_of(self))
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
      .def(py::init(&make_problem), py::arg("num_params"), py::arg("num_residuals"), py::arg("scale"),
           py::arg("functions"), py::arg("parameters"))
      .def("given_jacobian", &jacobian, py::arg("w"), py::call_guard<Unlocked>());
}
