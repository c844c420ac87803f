#include "callback_problem.hpp"

#include <utility>

namespace grokflow {

namespace {

py::object find(const CallbackProblem::Functions& functions, const char* name) {
  const auto found = functions.find(name);
  return found == functions.end() ? py::object() : found->second;
}

}  // namespace

/// The functions at a point. With no jvp or vjp from the user, J is taken once, at the start.
struct CallbackProblem::At final : Linearization {
  At(const CallbackProblem& problem, py::array point)
      : Linearization(problem.num_params(), problem.num_residuals()), problem(problem), w(std::move(point)) {}

  ~At() override {
    py::handle array = w.release();
    if (!Py_IsInitialized()) return;  // the interpreter is gone, and its memory with it
    py::gil_scoped_acquire gil;
    array.dec_ref();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    if (problem.jvp_.given())
      product(problem.jvp_, "v", v, out);
    else
      out.noalias() = Jt.transpose() * v;
  }

  void vjp(const ConstVectorRef& u, VectorRef out) const override {
    if (problem.vjp_.given())
      product(problem.vjp_, "u", u, out);
    else
      out.noalias() = Jt * u;
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    if (!problem.hvp_.given()) return Linearization::hvp(v, out);
    product(problem.hvp_, "v", v, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    if (problem.gram_.given() && begin == 0 && end == num_params())
      matrix(problem.gram_, K);
    else if (!problem.jacobian_.given())
      Linearization::gram(begin, end, K);
    else if (Jt.size() > 0)
      product_with_itself(Jt.middleRows(begin, end - begin), K);
    else {
      auto scratch = problem.borrow();
      scratch->Jt.resize(num_params(), num_residuals());
      {
        py::gil_scoped_acquire gil;
        Argument point("w", w);
        problem.jacobian_.call({&point}, {num_residuals(), num_params()}, scratch->Jt.data());
      }
      product_with_itself(scratch->Jt.middleRows(begin, end - begin), K);
    }
  }

  void hessian(MatrixRef H) const override {
    if (problem.hessian_.given()) return matrix(problem.hessian_, H);
    Linearization::hessian(H);
    py::gil_scoped_acquire gil;
    problem.hvp_.symmetrise(H);
  }

  void product(const Callback& callback, const char* name, const ConstVectorRef& x, VectorRef out) const {
    py::gil_scoped_acquire gil;
    Argument point("w", w), vector(name, x, callback.needs_copies());
    callback.call({&point, &vector}, {out.size()}, out.data());
  }

  void matrix(const Callback& callback, MatrixRef A) const {
    py::gil_scoped_acquire gil;
    Argument point("w", w);
    const Index m = A.rows();
    if (A.outerStride() == m) {
      callback.call({&point}, {m, m}, A.data());
    } else {
      Matrix packed(m, m);
      callback.call({&point}, {m, m}, packed.data());
      A = packed;
    }
    callback.symmetrise(A);  // which also makes row-major and column-major one
  }

  static void product_with_itself(const ConstMatrixRef& Jt, MatrixRef K) {
    K.setZero();
    K.selfadjointView<Eigen::Lower>().rankUpdate(Jt.transpose());
    K.triangularView<Eigen::StrictlyUpper>() = K.transpose();
  }

  const CallbackProblem& problem;
  py::array w;
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

CallbackProblem::~CallbackProblem() {
  std::array<py::handle, 9> functions;
  std::size_t count = 0;
  for (Callback* callback : callbacks()) functions[count++] = callback->function().release();
  if (!Py_IsInitialized()) return;
  py::gil_scoped_acquire gil;
  for (py::handle function : functions) function.dec_ref();
}

std::array<Callback*, 9> CallbackProblem::callbacks() {
  return {&residual_, &jvp_, &vjp_, &jacobian_, &gram_, &hvp_, &hessian_, &loss_, &gradient_};
}

WorkspacePool<CallbackProblem::Scratch>::Lease CallbackProblem::borrow() const {
  return pool_.borrow([] { return std::make_unique<Scratch>(); });
}

void CallbackProblem::residual(const ConstVectorRef& w, VectorRef out) const {
  if (!residual_.given()) return Problem::residual(w, out);
  py::gil_scoped_acquire gil;
  Argument point("w", w, residual_.needs_copies());
  residual_.call({&point}, {num_residuals()}, out.data());
}

double CallbackProblem::loss(const ConstVectorRef& w) const {
  if (!loss_.given()) return Problem::loss(w);
  py::gil_scoped_acquire gil;
  Argument point("w", w, loss_.needs_copies());
  double value;
  loss_.call({&point}, {}, &value);
  return value;
}

// grad F = c J^T r. Both functions get the same array object, so that one which keeps what it computed at
// this w may tell by `is` that the other asks for the same point.
void CallbackProblem::gradient(const ConstVectorRef& w, VectorRef out) const {
  py::gil_scoped_acquire gil;
  if (gradient_.given()) {
    Argument point("w", w, gradient_.needs_copies());
    return gradient_.call({&point}, {num_params()}, out.data());
  }
  const Callback& derivative = vjp_.given() ? vjp_ : jacobian_;
  Argument point("w", w, residual_.needs_copies() || derivative.needs_copies());
  auto scratch = borrow();
  scratch->r.resize(num_residuals());
  residual_.call({&point}, {num_residuals()}, scratch->r.data());
  scratch->r *= scale();
  if (vjp_.given()) {
    Argument u("u", scratch->r, vjp_.needs_copies());
    return vjp_.call({&point, &u}, {num_params()}, out.data());
  }
  scratch->Jt.resize(num_params(), num_residuals());
  jacobian_.call({&point}, {num_residuals(), num_params()}, scratch->Jt.data());
  py::gil_scoped_release unlocked;
  out.noalias() = scratch->Jt * scratch->r;
}

void CallbackProblem::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  py::gil_scoped_acquire gil;
  auto* at = static_cast<At*>(lin.get());
  if (!at) {
    lin = std::make_unique<At>(*this, private_copy(w));
    at = static_cast<At*>(lin.get());
  } else if (Py_REFCNT(at->w.ptr()) > 1) {
    at->w = private_copy(w);
  } else {
    Eigen::Map<Vector>(reinterpret_cast<double*>(py::detail::array_proxy(at->w.ptr())->data), w.size()) = w;
  }
  if (num_residuals() == 0 || (jvp_.given() && vjp_.given())) return;
  at->Jt.resize(num_params(), num_residuals());
  Argument point("w", at->w);
  jacobian_.call({&point}, {num_residuals(), num_params()}, at->Jt.data());
}

void CallbackProblem::jacobian(const ConstVectorRef& w, MatrixRef Jt) const {
  py::gil_scoped_acquire gil;
  Argument point("w", w, jacobian_.needs_copies());
  jacobian_.call({&point}, {num_residuals(), num_params()}, Jt.data());
}

}  // namespace grokflow
