// Losses, and problems made of a model's outputs and a loss.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "callback.hpp"
#include "collected.hpp"
#include "grokflow/output_problem.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

/// A loss that the user wrote in Python; see callbacks.cpp for who owns its functions.
class CallbackLoss final : public Loss {
 public:
  CallbackLoss(Index samples, Index outputs, Index rank, bool attained, py::object value, py::object gradient,
               py::object factor)
      : Loss(samples, outputs, rank),
        attained_(attained),
        shape_{samples, outputs},
        value_("loss.value", std::move(value)),
        gradient_("loss.gradient", std::move(gradient)),
        factor_("loss.factor", std::move(factor)),
        f_(shape_) {}

  bool attained() const override { return attained_; }

  double value(const ConstVectorRef& f) const override {
    const Locked locked;
    double out;
    value_({f_.fill(f)}, {}, &out);
    return out;
  }

  void gradient(VectorRef f) const override {
    const Locked locked;
    gradient_({f_.fill(f)}, shape_, f.data());
  }

  void factor(const ConstVectorRef& f, VectorRef rho, VectorRef B) const override {
    const Locked locked;
    const py::object blocks = factor_.first({f_.fill(f)}, {samples_, rank_}, rho.data());
    factor_.store(blocks, {samples_, outputs_, rank_}, B.data());
  }

  std::array<Callback*, 3> callbacks() { return {&value_, &gradient_, &factor_}; }

 private:
  bool attained_;
  Shape shape_;
  Callback value_, gradient_, factor_;
  mutable Argument f_;
};

/// An output problem, and what of it is Python's: model and loss, then those of the test; and names of the model's
/// blocks, if they are not its own.
class HeldOutputProblem final : public OutputProblem {
 public:
  HeldOutputProblem(Fit train, std::optional<Fit> test, std::vector<Held> holds,
                    std::vector<std::string> names)
      : OutputProblem(std::move(train), std::move(test)), holds_(std::move(holds)), names_(std::move(names)) {
    if (!names_.empty() && names_.size() != OutputProblem::blocks().size())
      throw std::invalid_argument("each block of the model needs a name");
  }

  const std::vector<Held>& holds() const { return holds_; }
  std::vector<Block> blocks() const override {
    auto blocks = OutputProblem::blocks();
    for (std::size_t i = 0; i < names_.size(); ++i) blocks[i].name = names_[i];
    return blocks;
  }

 private:
  std::vector<Held> holds_;
  std::vector<std::string> names_;
};

void collect_losses(PyHeapTypeObject* type) {
  type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (auto* loss = object_of<CallbackLoss>(self))
      for (Callback* callback : loss->callbacks()) Py_VISIT(callback->function().ptr());
    return 0;
  };
  type->ht_type.tp_clear = [](PyObject* self) {
    if (auto* loss = object_of<CallbackLoss>(self))
      for (Callback* callback : loss->callbacks()) callback->function() = py::object();
    return 0;
  };
}

/// The parts that a problem holds clear themselves.
void collect_problems(PyHeapTypeObject* type) {
  type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (auto* problem = object_of<HeldOutputProblem>(self))
      for (const Held& held : problem->holds()) Py_VISIT(held.object().ptr());
    return 0;
  };
  type->ht_type.tp_clear = [](PyObject*) { return 0; };
}

using FitTuple = std::tuple<Problem&, Loss&, double>;

Fit make_fit(const FitTuple& parts, std::vector<Held>& holds) {
  Held outputs{py::none()}, loss{py::none()};
  Fit fit{share(std::get<0>(parts), outputs), share(std::get<1>(parts), loss), std::get<2>(parts)};
  holds.insert(holds.end(), {outputs, loss});
  return fit;
}

std::shared_ptr<HeldOutputProblem> make_problem(const FitTuple& train, const std::optional<FitTuple>& test,
                                                std::vector<std::string> names) {
  std::vector<Held> holds;
  Fit fitted = make_fit(train, holds);
  std::optional<Fit> tested;
  if (test) tested = make_fit(*test, holds);
  return std::make_shared<HeldOutputProblem>(std::move(fitted), std::move(tested), std::move(holds),
                                             std::move(names));
}

Vector outputs_of(const Fit& fit, const ConstVectorRef& w) {
  Vector f(fit.loss->num_outputs());
  fit.outputs->residual(w, f);
  return f;
}

}  // namespace

void bind_losses(py::module_& m) {
  using Released = py::call_guard<Unlocked>;
  py::class_<Loss, std::shared_ptr<Loss>>(m, "Loss")
      .def_property_readonly("attained", &Loss::attained)
      .def("value", &Loss::value, py::arg("f"), Released())
      .def(
          "gradient",
          [](const Loss& loss, Vector f) {
            loss.gradient(f);
            return f;
          },
          py::arg("f"), Released())
      .def(
          "factor",
          [](const Loss& loss, const ConstVectorRef& f) {
            Vector rho(loss.num_residuals()), B(loss.factor_size());
            loss.factor(f, rho, B);
            return std::make_pair(rho, B);
          },
          py::arg("f"), Released())
      .def(
          "apply",
          [](const Loss& loss, const ConstVectorRef& B, const ConstVectorRef& u) {
            Vector x(loss.num_outputs());
            loss.apply(B, u, x);
            return x;
          },
          py::arg("B"), py::arg("u"), Released())
      .def(
          "hessian",
          [](const Loss& loss, const ConstVectorRef& f, Vector x) {
            Vector rho(loss.num_residuals()), B(loss.factor_size());
            loss.factor(f, rho, B);
            loss.hessian(B, rho, x);
            return x;
          },
          py::arg("f"), py::arg("x"), Released());
  py::class_<CallbackLoss, Loss, std::shared_ptr<CallbackLoss>>(m, "CallbackLoss",
                                                                py::custom_type_setup(collect_losses))
      .def(py::init<Index, Index, Index, bool, py::object, py::object, py::object>(), py::arg("samples"),
           py::arg("outputs"), py::arg("rank"), py::arg("attained"), py::arg("value"), py::arg("gradient"),
           py::arg("factor"));
  const auto shared = [](std::unique_ptr<Loss> loss) { return std::shared_ptr<Loss>(std::move(loss)); };
  m.def(
      "of_scaled_outputs",
      [=](std::shared_ptr<Loss> loss, double factor) {
        return shared(of_scaled_outputs(std::move(loss), factor));
      },
      py::arg("loss"), py::arg("factor"), py::keep_alive<0, 1>());
  m.def("squares", [=](Vector y) { return shared(squares(std::move(y))); }, py::arg("targets"));
  m.def(
      "huber", [=](Vector y, double delta) { return shared(huber(std::move(y), delta)); }, py::arg("targets"),
      py::arg("delta"));
  m.def("logistic", [=](Vector y) { return shared(logistic(std::move(y))); }, py::arg("labels"));
  m.def(
      "cross_entropy", [=](Vector q, Index k) { return shared(cross_entropy(std::move(q), k)); },
      py::arg("targets"), py::arg("outputs"));

  py::class_<HeldOutputProblem, Problem, std::shared_ptr<HeldOutputProblem>>(
      m, "OutputProblem", py::custom_type_setup(collect_problems))
      .def(py::init(&make_problem), py::arg("train"), py::arg("test"),
           py::arg("names") = std::vector<std::string>())
      .def_property_readonly("model",
                             [](const HeldOutputProblem& self) { return self.holds().front().object(); })
      .def_property_readonly("criterion",
                             [](const HeldOutputProblem& self) { return self.holds()[1].object(); })
      .def(
          "outputs",
          [](const HeldOutputProblem& problem, const ConstVectorRef& w) {
            return outputs_of(problem.train(), w);
          },
          py::arg("w"), Released())
      .def(
          "test_outputs",
          [](const HeldOutputProblem& problem, const ConstVectorRef& w) {
            return outputs_of(*problem.test(), w);
          },
          py::arg("w"), Released());
}
