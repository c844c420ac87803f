// `Problem`, as Python calls it one function at a time. Arguments are converted first; the GIL is released
// around the computation and taken again for the result, which NumPy adopts without a copy.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "grokflow/problem.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;
using RowMajorMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::unique_ptr<Linearization> linearize(const Problem& problem, const ConstVectorRef& w) {
  std::unique_ptr<Linearization> lin;
  problem.linearize(w, lin);
  return lin;
}

RowMajorMatrix jacobian(const Problem& problem, const ConstVectorRef& w) {
  const auto lin = linearize(problem, w);
  const Index n = problem.num_residuals();
  RowMajorMatrix J(n, problem.num_params());
  Vector unit = Vector::Zero(n);
  for (Index i = 0; i < n; ++i) {
    unit[i] = 1.0;
    lin->vjp(unit, J.row(i).transpose());
    unit[i] = 0.0;
  }
  return J;
}

Quantity find_quantity(const Problem& problem, const std::string& name) {
  for (auto& quantity : problem.quantities())
    if (quantity.name == name) return quantity;
  throw std::invalid_argument("no quantity is called '" + name + "'");
}

py::object evaluate_quantity(const Problem& problem, const std::string& name, const ConstVectorRef& w) {
  Quantity quantity;
  Vector value;
  {
    py::gil_scoped_release unlocked;
    quantity = find_quantity(problem, name);
    value.resize(std::max<Index>(quantity.size, 1));
    quantity.evaluate(w, value);
  }
  if (quantity.size == 0) return py::float_(value[0]);
  return py::cast(std::move(value));
}

}  // namespace

void bind_problem(py::module_& m) {
  py::class_<Problem, std::shared_ptr<Problem>>(m, "Problem")
      .def_property_readonly("num_params", &Problem::num_params)
      .def_property_readonly("num_residuals", &Problem::num_residuals)
      .def_property_readonly("scale", &Problem::scale)
      .def_property_readonly("has_residuals", &Problem::has_residuals)
      .def_property_readonly("has_hvp", &Problem::has_hvp)
      .def_property_readonly("has_hessian", &Problem::has_hessian)
      .def("blocks",
           [](const Problem& problem) {
             py::list blocks;
             for (const Block& block : problem.blocks())
               blocks.append(py::make_tuple(block.name, block.begin, py::tuple(py::cast(block.shape))));
             return blocks;
           })
      .def("quantities",
           [](const Problem& problem) {
             std::vector<std::tuple<std::string, Index>> names;
             for (const Quantity& quantity : problem.quantities())
               names.emplace_back(quantity.name, quantity.size);
             return names;
           })
      .def("quantity", &evaluate_quantity, py::arg("name"), py::arg("w"))
      .def("loss", &Problem::loss, py::arg("w"), Unlocked())
      .def(
          "gradient",
          [](const Problem& problem, const ConstVectorRef& w) {
            Vector out(problem.num_params());
            problem.gradient(w, out);
            return out;
          },
          py::arg("w"), Unlocked())
      .def(
          "residual",
          [](const Problem& problem, const ConstVectorRef& w) {
            Vector out(problem.num_residuals());
            problem.residual(w, out);
            return out;
          },
          py::arg("w"), Unlocked())
      .def(
          "jvp",
          [](const Problem& problem, const ConstVectorRef& w, const ConstVectorRef& v) {
            Vector out(problem.num_residuals());
            linearize(problem, w)->jvp(v, out);
            return out;
          },
          py::arg("w"), py::arg("v"), Unlocked())
      .def(
          "vjp",
          [](const Problem& problem, const ConstVectorRef& w, const ConstVectorRef& u) {
            Vector out(problem.num_params());
            linearize(problem, w)->vjp(u, out);
            return out;
          },
          py::arg("w"), py::arg("u"), Unlocked())
      .def("jacobian", &jacobian, py::arg("w"), Unlocked())
      .def(
          "gram",
          [](const Problem& problem, const ConstVectorRef& w, Index begin, Index end) {
            const Index n = problem.num_residuals();
            Matrix K(n, n);
            linearize(problem, w)->gram(begin, end < 0 ? problem.num_params() : end, K);
            return K;
          },
          py::arg("w"), py::arg("begin") = 0, py::arg("end") = -1, Unlocked())
      .def(
          "hvp",
          [](const Problem& problem, const ConstVectorRef& w, const ConstVectorRef& v) {
            Vector out(problem.num_params());
            linearize(problem, w)->hvp(v, out);
            return out;
          },
          py::arg("w"), py::arg("v"), Unlocked())
      .def(
          "hessian",
          [](const Problem& problem, const ConstVectorRef& w) {
            const Index d = problem.num_params();
            Matrix H(d, d);
            linearize(problem, w)->hessian(H);
            return H;
          },
          py::arg("w"), Unlocked());
}
