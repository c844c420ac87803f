// `Problem` and `Linearization`, as Python calls them one function at a time, and the models. Arguments are
// converted first; the GIL is released around the computation and taken again for the result, which NumPy adopts
// without a copy. Samples travel as (X, y, scale), entries as (rows, cols, values, scale).
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <variant>

#include "gil.hpp"
#include "grokflow/block_map.hpp"
#include "grokflow/models/deep_diagonal_network.hpp"
#include "grokflow/models/diagonal_linear_network.hpp"
#include "grokflow/models/linear_regression.hpp"
#include "grokflow/models/matrix_completion.hpp"
#include "grokflow/models/matrix_sensing.hpp"
#include "grokflow/models/measured_matrix.hpp"
#include "grokflow/models/mlp.hpp"
#include "grokflow/models/two_layer_network.hpp"
#include "linearization.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

using Released = py::call_guard<Unlocked>;

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
    const Unlocked unlocked;
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

using SampleTuple = std::tuple<Matrix, Vector, double>;
using MeasurementTuple = std::tuple<RowMajorMatrix, Vector, double>;
using EntryTuple = std::tuple<std::vector<Index>, std::vector<Index>, Vector, double>;

template <class Data, class Tuple>
Data from_tuple(Tuple&& tuple) {
  return std::apply([](auto&&... parts) { return Data{std::move(parts)...}; }, std::move(tuple));
}

template <class Data, class Tuple>
std::optional<Data> from_optional(std::optional<Tuple>&& tuple) {
  if (!tuple) return std::nullopt;
  return from_tuple<Data>(std::move(*tuple));
}

/// The rows of the first part are matrices, read row by row: the columns that the model wants.
Measurements from_rows(MeasurementTuple&& tuple) {
  auto& [rows, y, scale] = tuple;
  Measurements measurements{Matrix(), std::move(y), scale};
  measurements.A = Eigen::Map<const Matrix>(rows.data(), rows.cols(), rows.rows());
  return measurements;
}

std::optional<Measurements> from_rows(std::optional<MeasurementTuple>&& tuple) {
  if (!tuple) return std::nullopt;
  return from_rows(std::move(*tuple));
}

MatrixData matrix_data(std::variant<EntryTuple, MeasurementTuple>&& tuple) {
  if (auto* entries = std::get_if<EntryTuple>(&tuple)) return from_tuple<Entries>(std::move(*entries));
  return from_rows(std::move(std::get<MeasurementTuple>(tuple)));
}

template <class Model>
Vector predict(const Model& model, const ConstVectorRef& w, const Matrix& X) {
  Vector out(X.rows());
  model.predict(w, X, out);
  return out;
}

template <class Model>
Vector predict_outputs(const Model& model, const ConstVectorRef& w, const Matrix& X) {
  Vector out(X.rows() * model.num_outputs());
  model.predict(w, X, out);
  return out;
}

/// What an activation carries beside its name: a number, or the coefficients of a polynomial.
using Parameter = std::variant<double, std::vector<double>>;

Activation named_activation(const std::string& name, const Parameter& parameter) {
  if (auto* coefficients = std::get_if<std::vector<double>>(&parameter)) return Activation(*coefficients);
  return activation_by_name(name, std::get<double>(parameter));
}

template <class Model>
void bind_linear_model(py::module_& m, const char* name) {
  py::class_<Model, Problem, std::shared_ptr<Model>>(m, name)
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test) {
             return std::make_shared<Model>(from_tuple<Samples>(std::move(train)),
                                            from_optional<Samples>(std::move(test)));
           }),
           py::arg("train"), py::arg("test"))
      .def("predict", &predict<Model>, py::arg("w"), py::arg("X"), Released());
}

}  // namespace

void bind_problem(py::module_& m) {
  py::class_<HeldLinearization>(m, "Linearization")
      .def("jvp", &HeldLinearization::jvp, py::arg("v"), Released())
      .def("vjp", &HeldLinearization::vjp, py::arg("u"), Released())
      .def("jacobian", &HeldLinearization::jacobian, Released())
      .def("gram", &HeldLinearization::gram, py::arg("begin") = 0, py::arg("end") = py::none(), Released())
      .def("hvp", &HeldLinearization::hvp, py::arg("v"), Released())
      .def("hessian", &HeldLinearization::hessian, Released());

  py::class_<Problem, std::shared_ptr<Problem>>(m, "Problem")
      .def_property_readonly("num_params", &Problem::num_params)
      .def_property_readonly("num_residuals", &Problem::num_residuals)
      .def_property_readonly("scale", &Problem::scale)
      .def_property_readonly("has_residuals", &Problem::has_residuals)
      .def_property_readonly("attained", &Problem::attained)
      .def_property_readonly("has_hvp", &Problem::has_hvp)
      .def_property_readonly("has_hessian", &Problem::has_hessian)
      .def("blocks", &list_blocks)
      .def("quantities", &list_quantities)
      .def("quantity", &evaluate_quantity, py::arg("name"), py::arg("w"))
      .def("loss", &Problem::loss, py::arg("w"), Released())
      .def("gradient", &gradient, py::arg("w"), Released())
      .def("residual", &residual, py::arg("w"), Released())
      .def(
          "linearize",
          [](Problem& problem, const ConstVectorRef& w) {
            auto shared = share(problem);
            const Unlocked unlocked;
            return std::make_unique<HeldLinearization>(std::move(shared), w);
          },
          py::arg("w"));

  bind_linear_model<LinearRegression>(m, "LinearRegression");
  bind_linear_model<DiagonalLinearNetwork>(m, "DiagonalLinearNetwork");

  using Deep = DeepDiagonalNetwork;
  py::class_<Deep, Problem, std::shared_ptr<Deep>>(m, "DeepDiagonalNetwork")
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test, Index depth, bool difference) {
             return std::make_shared<Deep>(from_tuple<Samples>(std::move(train)),
                                           from_optional<Samples>(std::move(test)), depth,
                                           difference ? Deep::Form::difference : Deep::Form::product);
           }),
           py::arg("train"), py::arg("test"), py::arg("depth"), py::arg("difference"))
      .def("predict", &predict<Deep>, py::arg("w"), py::arg("X"), Released());

  py::class_<MatrixCompletion, Problem, std::shared_ptr<MatrixCompletion>>(m, "MatrixCompletion")
      .def(py::init([](EntryTuple train, std::optional<EntryTuple> test, Index num_rows, Index num_cols,
                       Index width) {
             return std::make_shared<MatrixCompletion>(from_tuple<Entries>(std::move(train)),
                                                       from_optional<Entries>(std::move(test)), num_rows,
                                                       num_cols, width);
           }),
           py::arg("train"), py::arg("test"), py::arg("num_rows"), py::arg("num_cols"), py::arg("width"))
      .def("predict", &MatrixCompletion::predict, py::arg("w"), Released());

  py::class_<MatrixSensing, Problem, std::shared_ptr<MatrixSensing>>(m, "MatrixSensing")
      .def(py::init([](MeasurementTuple train, std::optional<MeasurementTuple> test, Index num_rows,
                       Index num_cols, Index width) {
             return std::make_shared<MatrixSensing>(from_rows(std::move(train)), from_rows(std::move(test)),
                                                    num_rows, num_cols, width);
           }),
           py::arg("train"), py::arg("test"), py::arg("num_rows"), py::arg("num_cols"), py::arg("width"))
      .def("predict", &MatrixSensing::predict, py::arg("w"), Released());

  using KnownTuple = std::variant<EntryTuple, MeasurementTuple>;
  py::class_<MeasuredMatrix, Problem, std::shared_ptr<MeasuredMatrix>>(m, "MeasuredMatrix")
      .def(py::init([](KnownTuple train, std::optional<KnownTuple> test, std::vector<Index> sizes,
                       bool symmetric) {
             std::optional<MatrixData> unseen;
             if (test) unseen = matrix_data(std::move(*test));
             return std::make_shared<MeasuredMatrix>(
                 symmetric ? make_difference(sizes.at(0), sizes.at(1), sizes.at(2)) : make_chain(sizes),
                 matrix_data(std::move(train)), std::move(unseen));
           }),
           py::arg("train"), py::arg("test"), py::arg("sizes"), py::arg("symmetric"))
      .def("predict", &MeasuredMatrix::predict, py::arg("w"), Released());

  py::class_<TwoLayerNetwork, Problem, std::shared_ptr<TwoLayerNetwork>>(m, "TwoLayerNetwork")
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test, Index width,
                       const std::string& activation, const Parameter& parameter, bool output_bias,
                       double output_scale, bool bias) {
             return std::make_shared<TwoLayerNetwork>(
                 from_tuple<Samples>(std::move(train)), from_optional<Samples>(std::move(test)), width,
                 named_activation(activation, parameter), output_bias, output_scale, bias);
           }),
           py::arg("train"), py::arg("test"), py::arg("width"), py::arg("activation"), py::arg("parameter"),
           py::arg("output_bias"), py::arg("output_scale"), py::arg("bias"))
      .def("predict", &predict_outputs<TwoLayerNetwork>, py::arg("w"), py::arg("X"), Released());

  py::class_<MLP, Problem, std::shared_ptr<MLP>>(m, "MLP")
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test, std::vector<Index> widths,
                       const std::string& activation, const Parameter& parameter,
                       const std::vector<bool>& bias) {
             return std::make_shared<MLP>(from_tuple<Samples>(std::move(train)),
                                          from_optional<Samples>(std::move(test)), std::move(widths),
                                          named_activation(activation, parameter), bias);
           }),
           py::arg("train"), py::arg("test"), py::arg("widths"), py::arg("activation"), py::arg("parameter"),
           py::arg("bias"))
      .def("predict", &predict_outputs<MLP>, py::arg("w"), py::arg("X"), Released());

  py::class_<MappedProblem, Problem, std::shared_ptr<MappedProblem>>(m, "MappedProblem")
      .def(py::init(
               [](Problem& problem, Vector w, const std::vector<std::tuple<std::string, Index>>& choices) {
                 std::vector<BlockMap::Choice> blocks;  // of rank 0: trained
                 for (const auto& [name, rank] : choices)
                   blocks.push_back({name, rank > 0 ? BlockMap::adapted : BlockMap::trained, rank});
                 BlockMap map(problem.blocks(), std::move(w), blocks);
                 return std::make_shared<MappedProblem>(share(problem), std::move(map));
               }),
           py::arg("problem"), py::arg("w"), py::arg("choices"))
      .def(
          "embed",
          [](const MappedProblem& problem, const ConstVectorRef& v) {
            Vector w(problem.map().num_outer());
            problem.map().value(v, w);
            return w;
          },
          py::arg("w"), Released());

  m.def("activation_names", &activation_names);
  m.def(
      "activation",
      [](const std::string& name, const Vector& z, const Parameter& parameter) {
        Vector a(z.size()), a1(z.size()), a2(z.size());
        activate(named_activation(name, parameter), z.data(), z.size(), a.data(), a1.data(), a2.data());
        return std::make_tuple(a, a1, a2);
      },
      py::arg("name"), py::arg("z"), py::arg("parameter") = 0.0);
}
