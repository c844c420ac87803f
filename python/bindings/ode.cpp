// Systems dy/dt = f(t, y) of the user's, which need be no gradient flows: what `grokflow.scipy` steps.
#include <pybind11/complex.h>
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "arrays.hpp"
#include "callback.hpp"
#include "grokflow/dense_flow.hpp"
#include "grokflow/status.hpp"
#include "run.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

/// Where a run, whose time starts at 0 and grows, is on the user's axis of time, which may point back. Stages at
/// the end of the last step are not carried beyond it by round-off.
struct Axis {
  double t0, t_bound;
  double sign = t_bound < t0 ? -1.0 : 1.0;

  py::float_ operator()(double elapsed) const {
    const double t = t0 + sign * elapsed;
    return sign > 0.0 ? std::min(t, t_bound) : std::max(t, t_bound);
  }
};

/// (I - z f')^-1 by a function v -> x of the user's side.
template <class Scalar>
class SolverOfPython final : public ShiftedSolver<Scalar> {
  using V = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

 public:
  SolverOfPython(bool exact, Stats& stats) : exact_(exact), stats_(stats) {}

  /// Whether this is the solver for that z, with f' of that point.
  bool serves(Scalar z, long point) const { return z_ == z && point_ == point; }
  /// False if there is no such function.
  bool set(py::object solve, Scalar z, long point) {
    const bool found = !solve.is_none();
    solve_ = Held(std::move(solve));
    z_ = z;
    point_ = found ? point : 0;
    return found;
  }

  bool solve(Eigen::Ref<V> v) override {
    ++stats_.nsolve;
    const Locked locked;
    const py::object x = solve_({py::cast(V(v))});
    if (x.is_none()) return false;
    v = x.cast<V>();
    return true;
  }

  bool exact() const override { return exact_; }

 private:
  Held solve_{py::none()};
  Scalar z_{};
  long point_ = 0;
  bool exact_;
  Stats& stats_;
};

/// f' frozen at a point, as a function z -> (v -> (I - z f')^-1 v, or None) of the user's side.
class LinearizedByPython final : public LinearizedFlow {
 public:
  LinearizedByPython(double sign, bool exact, Stats& stats) : sign_(sign), exact_(exact), stats_(stats) {}

  void set(py::object factor) {
    factor_ = Held(std::move(factor));
    ++point_;
  }

  bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) override { return make(z, solver); }
  bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) override { return make(z, solver); }

 private:
  template <class Scalar>
  bool make(Scalar z, std::unique_ptr<ShiftedSolver<Scalar>>& solver) {
    if (!solver) solver = std::make_unique<SolverOfPython<Scalar>>(exact_, stats_);
    auto& mine = static_cast<SolverOfPython<Scalar>&>(*solver);
    if (mine.serves(z, point_)) return true;
    ++stats_.nfactor;
    const Locked locked;
    return mine.set(factor_({py::cast(sign_ * z)}), z, point_);
  }

  Held factor_{py::none()};
  long point_ = 0;  // the number of points at which f' was frozen
  double sign_;
  bool exact_;
  Stats& stats_;
};

/// y as an argument; arrays that SciPy's own methods pass can be written to as well.
std::shared_ptr<Argument> state_argument(Index size) { return std::make_shared<Argument>(Shape{size}, true); }

DenseFlow::Field field_of(const Held& fun, const Axis& axis, Index size) {
  return [fun, axis, state = state_argument(size)](double t, const ConstVectorRef& y, VectorRef out) {
    const Locked locked;
    store("fun", fun({axis(t), state->fill(y)}), {out.size()}, out.data());
    out *= axis.sign;
  };
}

DenseFlow::Jacobian jacobian_of(const Held& jac, const Axis& axis, Index size) {
  return [jac, axis, state = state_argument(size)](double t, const ConstVectorRef& y, MatrixRef out) {
    const Locked locked;
    RowMajorMatrix J(out.rows(), out.cols());
    store("jac", jac({axis(t), state->fill(y)}), {J.rows(), J.cols()}, J.data());
    out = axis.sign * J;
  };
}

/// A flow whose linear systems the user's side solves.
class OdeFlow final : public Flow {
 public:
  OdeFlow(Index size, const Held& fun, Held linearize, bool exact, const Axis& axis)
      : size_(size),
        field_(field_of(fun, axis, size)),
        linearize_(std::move(linearize)),
        exact_(exact),
        axis_(axis) {}

  Index size() const override { return size_; }

 protected:
  void compute_rhs(const ConstVectorRef& y, VectorRef out) override { field_(time(), y, out); }

  void compute_linearization(const ConstVectorRef& y, std::unique_ptr<LinearizedFlow>& lin) override {
    if (!lin) lin = std::make_unique<LinearizedByPython>(axis_.sign, exact_, stats());
    const Locked locked;
    static_cast<LinearizedByPython&>(*lin).set(linearize_({axis_(time()), copy_of(y)}));
  }

 private:
  Index size_;
  DenseFlow::Field field_;
  Held linearize_;
  bool exact_;
  Axis axis_;
};

std::unique_ptr<HeldRun> ode(py::object fun, py::object jac, const std::string& solves, double t0,
                             double t_bound, const Vector& y0, const RunRequest& request) {
  Prepared made(request, {"auto", 0.0, 0}, y0, nullptr);
  const Held f = made.holds.emplace_back(std::move(fun)), j = made.holds.emplace_back(std::move(jac));
  const Axis axis{t0, t_bound};
  std::unique_ptr<Flow> flow;
  if (solves == "dense")
    flow =
        std::make_unique<DenseFlow>(y0.size(), field_of(f, axis, y0.size()), jacobian_of(j, axis, y0.size()));
  else
    flow = std::make_unique<OdeFlow>(y0.size(), f, j, solves == "exact", axis);
  auto run = make_run<FlowRun>(std::move(flow), y0, made.options);
  return std::make_unique<HeldRun>(std::move(run), std::move(made.holds));
}

/// One step: the status, the time since the start, the state, evaluations and factorisations so far.
py::tuple step(HeldRun& held) {
  const FlowRun& run = held.run();
  const char* status = run.status() == Status::running ? held.advance(false) : to_string(run.status());
  return py::make_tuple(status, run.t(), copy_of(run.w()), run.stats().nfev, run.stats().nfactor);
}

/// The states at these fractions of the last step, which began at y_old, one in a row; both ends are exact.
py::array_t<double> path(const HeldRun& held, const Vector& y_old, const Vector& fractions) {
  const Integrator& integrator = held.run().integrator();
  const double begin = integrator.previous_t(), end = integrator.t();
  RowMajorMatrix states(fractions.size(), y_old.size());
  Vector y = y_old;
  for (Index i = 0; i < fractions.size(); ++i) {
    if (i > 0)
      integrator.interpolate(i + 1 == fractions.size() ? end : begin + fractions[i] * (end - begin), y);
    states.row(i) = y;
  }
  return array_of({states.rows(), states.cols()}, states.data());
}

}  // namespace

void bind_ode(py::module_& m) {
  m.def("ode", &ode, py::arg("fun"), py::arg("jac"), py::arg("solves"), py::arg("t0"), py::arg("t_bound"),
        py::arg("y0"), py::arg("options"));
  m.def("ode_step", &step, py::arg("run"));
  m.def("ode_path", &path, py::arg("run"), py::arg("y_old"), py::arg("fractions"));
}
