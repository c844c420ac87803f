// The models and their activations. Samples travel as (X, y, scale), entries as (rows, cols, values, scale).
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <tuple>

#include "grokflow/models/diagonal_linear_network.hpp"
#include "grokflow/models/linear_regression.hpp"
#include "grokflow/models/matrix_completion.hpp"
#include "grokflow/models/matrix_sensing.hpp"
#include "grokflow/models/mlp.hpp"
#include "grokflow/models/two_layer_network.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;
using RowMajorMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
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

template <class Model>
Vector predict(const Model& model, const ConstVectorRef& w, const Matrix& X) {
  Vector out(X.rows());
  model.predict(w, X, out);
  return out;
}

template <class Model>
void bind_linear_model(py::module_& m, const char* name) {
  py::class_<Model, Problem, std::shared_ptr<Model>>(m, name)
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test) {
             return std::make_shared<Model>(from_tuple<Samples>(std::move(train)),
                                            from_optional<Samples>(std::move(test)));
           }),
           py::arg("train"), py::arg("test"))
      .def("predict", &predict<Model>, py::arg("w"), py::arg("X"), Unlocked());
}

}  // namespace

void bind_models(py::module_& m) {
  bind_linear_model<LinearRegression>(m, "LinearRegression");
  bind_linear_model<DiagonalLinearNetwork>(m, "DiagonalLinearNetwork");

  py::class_<MatrixCompletion, Problem, std::shared_ptr<MatrixCompletion>>(m, "MatrixCompletion")
      .def(py::init([](EntryTuple train, std::optional<EntryTuple> test, Index num_rows, Index num_cols,
                       Index width) {
             return std::make_shared<MatrixCompletion>(from_tuple<Entries>(std::move(train)),
                                                       from_optional<Entries>(std::move(test)), num_rows,
                                                       num_cols, width);
           }),
           py::arg("train"), py::arg("test"), py::arg("num_rows"), py::arg("num_cols"), py::arg("width"))
      .def("predict", &MatrixCompletion::predict, py::arg("w"), Unlocked());

  py::class_<MatrixSensing, Problem, std::shared_ptr<MatrixSensing>>(m, "MatrixSensing")
      .def(py::init([](MeasurementTuple train, std::optional<MeasurementTuple> test, Index num_rows,
                       Index num_cols, Index width) {
             return std::make_shared<MatrixSensing>(from_rows(std::move(train)), from_rows(std::move(test)),
                                                    num_rows, num_cols, width);
           }),
           py::arg("train"), py::arg("test"), py::arg("num_rows"), py::arg("num_cols"), py::arg("width"))
      .def("predict", &MatrixSensing::predict, py::arg("w"), Unlocked());

  py::class_<TwoLayerNetwork, Problem, std::shared_ptr<TwoLayerNetwork>>(m, "TwoLayerNetwork")
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test, Index width,
                       const std::string& activation, double parameter, bool output_bias,
                       double output_scale) {
             return std::make_shared<TwoLayerNetwork>(
                 from_tuple<Samples>(std::move(train)), from_optional<Samples>(std::move(test)), width,
                 activation_by_name(activation, parameter), output_bias, output_scale);
           }),
           py::arg("train"), py::arg("test"), py::arg("width"), py::arg("activation"), py::arg("parameter"),
           py::arg("output_bias"), py::arg("output_scale"))
      .def("predict", &predict<TwoLayerNetwork>, py::arg("w"), py::arg("X"), Unlocked());

  py::class_<MLP, Problem, std::shared_ptr<MLP>>(m, "MLP")
      .def(py::init([](SampleTuple train, std::optional<SampleTuple> test, std::vector<Index> widths,
                       const std::string& activation, double parameter, bool bias) {
             return std::make_shared<MLP>(from_tuple<Samples>(std::move(train)),
                                          from_optional<Samples>(std::move(test)), std::move(widths),
                                          activation_by_name(activation, parameter), bias);
           }),
           py::arg("train"), py::arg("test"), py::arg("widths"), py::arg("activation"), py::arg("parameter"),
           py::arg("bias"))
      .def(
          "predict",
          [](const MLP& model, const ConstVectorRef& w, const Matrix& X) {
            Vector out(X.rows() * model.num_outputs());
            model.predict(w, X, out);
            return out;
          },
          py::arg("w"), py::arg("X"), Unlocked());

  m.def("activation_names", &activation_names);
  m.def(
      "activation",
      [](const std::string& name, const Vector& z, double parameter) {
        Vector a(z.size()), a1(z.size()), a2(z.size());
        activate(activation_by_name(name, parameter), z.data(), z.size(), a.data(), a1.data(), a2.data());
        return std::make_tuple(a, a1, a2);
      },
      py::arg("name"), py::arg("z"), py::arg("parameter") = 0.0);
}
