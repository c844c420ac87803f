// `Problem` and `Linearization`, as Python calls them one function at a time. Arguments are converted first;
// the GIL is released around the computation and taken again for the result, which NumPy adopts without a
// copy.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "grokflow/problem.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;
using RowMajorMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A linearisation, together with the problem that it needs.
class HeldLinearization {
 public:
  HeldLinearization(std::shared_ptr<const Problem> problem, const ConstVectorRef& w)
      : problem_(std::move(problem)) {
    refill(w);
  }

  void refill(const ConstVectorRef& w) { problem_->linearize(w, lin_); }

  Vector jvp(const ConstVectorRef& v) const {
    Vector out(lin_->num_residuals());
    lin_->jvp(v, out);
    return out;
  }

  Vector vjp(const ConstVectorRef& u) const {
    Vector out(lin_->num_params());
    lin_->vjp(u, out);
    return out;
  }

  RowMajorMatrix jacobian() const {
    const Index n = lin_->num_residuals();
    RowMajorMatrix J(n, lin_->num_params());
    Vector unit = Vector::Zero(n);
    for (Index i = 0; i < n; ++i) {
      unit[i] = 1.0;
      lin_->vjp(unit, J.row(i).transpose());
      unit[i] = 0.0;
    }
    return J;
  }

  Matrix gram(Index begin, std::optional<Index> end) const {
    Matrix K(lin_->num_residuals(), lin_->num_residuals());
    lin_->gram(begin, end.value_or(lin_->num_params()), K);
    return K;
  }

  Vector hvp(const ConstVectorRef& v) const {
    Vector out(lin_->num_params());
    lin_->hvp(v, out);
    return out;
  }

  Matrix hessian() const {
    Matrix H(lin_->num_params(), lin_->num_params());
    lin_->hessian(H);
    return H;
  }

 private:
  std::shared_ptr<const Problem> problem_;
  std::unique_ptr<Linearization> lin_;
};

py::list list_blocks(const Problem& problem) {
  py::list blocks;
  for (const Block& block : problem.blocks())
    blocks.append(py::make_tuple(block.name, block.begin, py::tuple(py::cast(block.shape))));
  return blocks;
}

std::vector<std::tuple<std::string, Index>> list_quantities(const Problem& problem) {
  std::vector<std::tuple<std::string, Index>> names;
  for (const Quantity& quantity : problem.quantities()) names.emplace_back(quantity.name, quantity.size);
  return names;
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

Vector gradient(const Problem& problem, const ConstVectorRef& w) {
  Vector out(problem.num_params());
  problem.gradient(w, out);
  return out;
}

Vector residual(const Problem& problem, const ConstVectorRef& w) {
  Vector out(problem.num_residuals());
  problem.residual(w, out);
  return out;
}

}  // namespace

void bind_problem(py::module_& m) {
  py::class_<HeldLinearization>(m, "Linearization")
      .def("refill", &HeldLinearization::refill, py::arg("w"), Unlocked())
      .def("jvp", &HeldLinearization::jvp, py::arg("v"), Unlocked())
      .def("vjp", &HeldLinearization::vjp, py::arg("u"), Unlocked())
      .def("jacobian", &HeldLinearization::jacobian, Unlocked())
      .def("gram", &HeldLinearization::gram, py::arg("begin") = 0, py::arg("end") = py::none(), Unlocked())
      .def("hvp", &HeldLinearization::hvp, py::arg("v"), Unlocked())
      .def("hessian", &HeldLinearization::hessian, Unlocked());

  py::class_<Problem, std::shared_ptr<Problem>>(m, "Problem")
      .def_property_readonly("num_params", &Problem::num_params)
      .def_property_readonly("num_residuals", &Problem::num_residuals)
      .def_property_readonly("scale", &Problem::scale)
      .def_property_readonly("has_residuals", &Problem::has_residuals)
      .def_property_readonly("has_hvp", &Problem::has_hvp)
      .def_property_readonly("has_hessian", &Problem::has_hessian)
      .def("blocks", &list_blocks)
      .def("quantities", &list_quantities)
      .def("quantity", &evaluate_quantity, py::arg("name"), py::arg("w"))
      .def("loss", &Problem::loss, py::arg("w"), Unlocked())
      .def("gradient", &gradient, py::arg("w"), Unlocked())
      .def("residual", &residual, py::arg("w"), Unlocked())
      .def(
          "linearize",
          [](std::shared_ptr<Problem> problem, const ConstVectorRef& w) {
            return std::make_unique<HeldLinearization>(std::move(problem), w);
          },
          py::arg("w"), Unlocked());
}
