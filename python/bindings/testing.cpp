// What only tests and benchmarks use: the linear solves of an implicit step, one by one, by which the curvatures are
// held against each other; a linearisation filled again; a gradient many times in a row.
#include <pybind11/complex.h>
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "arrays.hpp"
#include "linearization.hpp"
#include "run.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

class SteppedCurvature {
 public:
  SteppedCurvature(Problem& problem, const Rates& decay, const std::string& kind, double memory_budget,
                   Index rank, double forcing)
      : decay_(make_decay(decay)) {
    const CurvatureOptions options{memory_budget, rank, forcing};
    const CurvatureKind chosen = choose_curvature(problem, curvature_kind(kind), memory_budget);
    curvature_ = make_curvature(chosen, share(problem), decay_, stats_, options);
    curvature_->checkpoint = signal_check();
  }

  void linearize(const Vector& w) { curvature_->linearize(w); }
  bool sharpen() { return curvature_->sharpen(); }
  const Stats& stats() const { return stats_; }

  /// (I + z (D + H))^-1 v, or None where the solver gives up.
  py::object solve(double z, Vector v) { return solve_with(real_, z, v); }
  py::object solve(Complex z, Eigen::VectorXcd v) { return solve_with(complex_, z, v); }

  /// (I + z (D + H))^-1 (v - z (grad F(w) + D w)), w the point of `linearize`, or None where that is no gain.
  py::object solve_with_field(double z, const Vector& w, Vector v) {
    bool solved;
    {
      const Unlocked unlocked;
      solved = curvature_->factor(z, real_) && real_->solve_with_field(w, v);
    }
    return solved ? py::cast(std::move(v)) : py::none();
  }

 private:
  template <class Scalar, class V>
  py::object solve_with(std::unique_ptr<ShiftedSolver<Scalar>>& solver, Scalar z, V& v) {
    bool solved;
    {
      const Unlocked unlocked;
      solved = curvature_->factor(z, solver) && solver->solve(v);
    }
    return solved ? py::cast(std::move(v)) : py::none();
  }

  Decay decay_;
  Stats stats_;
  std::unique_ptr<Curvature> curvature_;
  std::unique_ptr<ShiftedSolver<double>> real_;
  std::unique_ptr<ShiftedSolver<Complex>> complex_;
};

}  // namespace

void bind_testing(py::module_& m) {
  py::class_<SteppedCurvature>(m, "SteppedCurvature")
      .def(py::init<Problem&, const Rates&, const std::string&, double, Index, double>(), py::arg("problem"),
           py::arg("decay"), py::arg("kind"), py::arg("memory_budget"), py::arg("rank"),
           py::arg("forcing") = CurvatureOptions{}.forcing)
      .def("linearize", &SteppedCurvature::linearize, py::arg("w"), py::call_guard<Unlocked>())
      .def("sharpen", &SteppedCurvature::sharpen)
      .def("solve", py::overload_cast<double, Vector>(&SteppedCurvature::solve), py::arg("z"), py::arg("v"))
      .def("solve", py::overload_cast<Complex, Eigen::VectorXcd>(&SteppedCurvature::solve), py::arg("z"),
           py::arg("v"))
      .def("solve_with_field", &SteppedCurvature::solve_with_field, py::arg("z"), py::arg("w"), py::arg("v"))
      .def_property_readonly("stats", [](const SteppedCurvature& self) { return dict_of(self.stats()); });

  m.def(
      "repeat_gradient",
      [](const Problem& problem, const Vector& w, std::int64_t times) {
        Vector gradient(problem.num_params());
        while (times-- > 0) problem.gradient(w, gradient);
        return gradient;
      },
      py::arg("problem"), py::arg("w"), py::arg("times"), py::call_guard<Unlocked>());
  m.def("refill", &HeldLinearization::refill, py::arg("lin"), py::arg("w"), py::call_guard<Unlocked>());
}
