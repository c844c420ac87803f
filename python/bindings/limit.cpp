// The limit of vanishing weight decay: tangent spaces, the landing, and the drift on the manifold.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "arrays.hpp"
#include "grokflow/penalised.hpp"
#include "grokflow/status.hpp"
#include "run.hpp"

namespace py = pybind11;
using namespace grokflow;

namespace {

py::dict dict_of(const Spectrum& spectrum) {
  py::dict out;
  out["rank"] = spectrum.rank;
  out["eta"] = spectrum.smallest;
  out["largest"] = spectrum.largest;
  out["gap"] = spectrum.gap;
  out["num_negative"] = spectrum.num_negative;
  return out;
}

/// (P v, spectrum, stats, ||H^+ grad F(w)||, ||grad F(w)||).
py::tuple tangent_projection(Problem& problem, const Vector& w, const Vector& v, const std::string& curvature,
                             double memory_budget, double rtol_rank) {
  const TangentOptions options{rtol_rank, memory_budget, 0.0, signal_check()};
  const auto shared = share(problem);
  TangentProjection found;
  {
    const Unlocked unlocked;
    found = project_on_tangent(shared, w, v, curvature_kind(curvature), options);
  }
  return py::make_tuple(std::move(found.v), dict_of(found.spectrum), grokflow::dict_of(found.stats),
                        found.offset.distance, found.offset.slope);
}

struct HeldLanding final : HeldRun {
  using HeldRun::HeldRun;

  /// The landing, and the work that it took after the flow.
  py::dict settle() {
    auto& run = static_cast<LandingRun&>(this->run());
    Landing landing;
    {
      const Unlocked unlocked;
      landing = run.settle();
    }
    py::dict out = dict_of(landing.spectrum);
    out["status"] = to_string(landing.status);
    out["message"] = landing.message;
    out["w"] = landing.w;
    out["pulled"] = landing.pulled;
    out["residual_norm"] = landing.residual_norm;
    out["curvature"] = to_string(landing.curvature);
    out["stats"] = grokflow::dict_of(run.settling_stats());
    return out;
  }
};

std::unique_ptr<HeldLanding> landing_run(Problem& problem, const Vector& w0, const std::string& curvature,
                                         double memory_budget, Index rank, double rtol_rank,
                                         const RunRequest& request,
                                         std::shared_ptr<Regularizer> regularizer) {
  Prepared made(request, {curvature, memory_budget, rank}, w0, &problem);
  made.options.rtol_rank = rtol_rank;
  auto run = make_run<LandingRun>(made.problem, w0, made.options, regularizer);
  return std::make_unique<HeldLanding>(std::move(run), std::move(made.holds));
}

struct HeldDrift final : HeldRun {
  using HeldRun::HeldRun;

  /// What the monitor saw at each step.
  py::dict monitor() const {
    const DriftMonitor& monitor = static_cast<const DriftRun&>(run()).monitor();
    std::vector<double> eta, gap, largest;
    std::vector<Index> rank;
    for (const Spectrum& spectrum : monitor.spectra()) {
      eta.push_back(spectrum.smallest);
      gap.push_back(spectrum.gap);
      largest.push_back(spectrum.largest);
      rank.push_back(spectrum.rank);
    }
    py::dict out;
    out["s"] = vector_of(monitor.s());
    out["eta"] = vector_of(eta);
    out["rank"] = py::array_t<Index>(static_cast<py::ssize_t>(rank.size()), rank.data());
    out["gap"] = vector_of(gap);
    out["largest"] = vector_of(largest);
    return out;
  }
};

std::unique_ptr<HeldDrift> drift_run(Problem& problem, std::shared_ptr<Regularizer> regularizer,
                                     const Vector& w0, const std::string& curvature, double memory_budget,
                                     double rtol_rank, bool stop_on_rank_change, double kkt_tol,
                                     const RunRequest& request, const Vector& before) {
  Prepared made(request, {curvature, memory_budget, 0}, w0, &problem, regularizer);
  made.options.rtol_rank = rtol_rank;
  auto run = make_run<DriftRun>(made.problem, regularizer, w0, made.options,
                                DriftMonitor::Options{stop_on_rank_change, kkt_tol}, before);
  return std::make_unique<HeldDrift>(std::move(run), std::move(made.holds));
}

/// value(w) and gradient(w) of Python.
class CallbackRegularizer final : public Regularizer {
 public:
  explicit CallbackRegularizer(py::object evaluate) : evaluate_(std::move(evaluate)) {}

  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override {
    const Locked locked;
    const py::tuple answer = evaluate_({copy_of(w)});
    gradient = answer[1].cast<Vector>();
    return answer[0].cast<double>();
  }

 private:
  Held evaluate_;
};

/// The point of M that Newton's method finds from w, and the length of the way.
py::tuple pulled_back(Problem& problem, const Vector& w, const std::string& curvature, double memory_budget,
                      double rtol_rank) {
  const TangentOptions tangent{rtol_rank, memory_budget, 0.0, signal_check()};
  const auto shared = share(problem);
  Landing landing;
  {
    const Unlocked unlocked;
    landing = grokflow::pull_back(shared, w, {1e-6, curvature_kind(curvature), tangent});
  }
  return py::make_tuple(std::move(landing.w), landing.pulled);
}

std::shared_ptr<Problem> piece_of_drift(Problem& problem, const Vector& w,
                                        const std::shared_ptr<Regularizer>& regularizer) {
  const auto shared = share(problem);
  const Unlocked unlocked;
  return std::const_pointer_cast<Problem>(grokflow::drifting_piece(shared, w, regularizer));
}

}  // namespace

void bind_limit(py::module_& m) {
  py::class_<Regularizer, std::shared_ptr<Regularizer>>(m, "Regularizer")
      .def("evaluate", [](const Regularizer& regularizer, const Vector& w) {
        Vector gradient(w.size());
        const double value = regularizer.evaluate(w, gradient);
        return py::make_tuple(value, std::move(gradient));
      });
  m.def(
      "weighted_norm",
      [](const Rates& weights) -> std::shared_ptr<Regularizer> {
        return std::make_shared<WeightedNorm>(make_decay(weights));
      },
      py::arg("weights"));
  m.def("hessian_trace", [](Problem& problem) -> std::shared_ptr<Regularizer> {
    return std::make_shared<HessianTrace>(share(problem));
  });
  m.def(
      "l1_norm",
      [](const Rates& weights) -> std::shared_ptr<Regularizer> {
        const Decay by_range = make_decay(weights);
        Vector each = Vector::Zero(by_range.num_params());
        by_range.add_product(1.0, Vector::Ones(each.size()), each);
        return std::make_shared<L1Norm>(std::move(each));
      },
      py::arg("weights"));
  m.def(
      "penalised",
      [](Problem& problem, const std::shared_ptr<Regularizer>& regularizer, double lam) {
        return std::const_pointer_cast<Problem>(penalised(share(problem), regularizer, lam));
      },
      py::arg("problem"), py::arg("regularizer"), py::arg("lam"));
  m.def("callback_regularizer", [](py::object evaluate) -> std::shared_ptr<Regularizer> {
    return std::make_shared<CallbackRegularizer>(std::move(evaluate));
  });

  py::class_<HeldLanding, HeldRun>(m, "LandingRun")
      .def(py::init(&landing_run), py::arg("problem"), py::arg("w0"), py::arg("curvature"),
           py::arg("memory_budget"), py::arg("rank"), py::arg("rtol_rank"), py::arg("options"),
           py::arg("regularizer"))
      .def("settle", &HeldLanding::settle);

  py::class_<HeldDrift, HeldRun>(m, "DriftRun")
      .def(py::init(&drift_run), py::arg("problem"), py::arg("regularizer"), py::arg("w0"),
           py::arg("curvature"), py::arg("memory_budget"), py::arg("rtol_rank"),
           py::arg("stop_on_rank_change"), py::arg("kkt_tol"), py::arg("options"), py::arg("before"))
      .def("monitor", &HeldDrift::monitor);

  m.attr("FOREVER") = kForever;
  m.def("tangent_projection", &tangent_projection, py::arg("problem"), py::arg("w"), py::arg("v"),
        py::arg("curvature"), py::arg("memory_budget"), py::arg("rtol_rank"));
  m.def("tangent_curvature_of",
        [](const Problem& problem, const std::string& curvature, double memory_budget, const Vector& w) {
          return to_string(choose_tangent_space(problem, curvature_kind(curvature), memory_budget, w));
        });
  m.def("drifting_piece", &piece_of_drift, py::arg("problem"), py::arg("w"), py::arg("regularizer"));
  m.def("along_surfaces", [](const Problem& problem, Vector v) {
    if (const auto* piece = dynamic_cast<const Piece*>(&problem)) piece->project(v);
    return v;
  });
  m.def("pull_back", &pulled_back, py::arg("problem"), py::arg("w"), py::arg("curvature"),
        py::arg("memory_budget"), py::arg("rtol_rank"));
}
