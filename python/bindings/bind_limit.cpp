// The limit of vanishing weight decay: tangent spaces, the landing, and the drift on the manifold.
#include <pybind11/eigen.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <utility>

#include "arrays.hpp"
#include "flow_run.hpp"
#include "grokflow/drift_monitor.hpp"
#include "grokflow/gradient_flow.hpp"
#include "grokflow/landing.hpp"
#include "grokflow/modes.hpp"
#include "grokflow/norm_flow.hpp"

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

/// Of P v, relative to v: what a projector whose error is known only by a bound, a hundred times too high as
/// a rule, has to keep.
constexpr double kProjectionError = 1e-12;

/// (P v, spectrum, stats, ||H^+ grad F(w)||, ||grad F(w)||).
py::tuple tangent_projection(std::shared_ptr<Problem> problem, const Vector& w, const Vector& v,
                             const std::string& curvature, double memory_budget, double rtol_rank) {
  Stats stats;
  Vector projected = v;
  Spectrum spectrum;
  Offset offset{};
  const TangentOptions options{rtol_rank, memory_budget, kProjectionError, signal_check()};
  {
    py::gil_scoped_release unlocked;
    const auto tangent = make_tangent_space(curvature_kind(curvature), problem, options, stats);
    if (!tangent->linearize(w)) throw std::invalid_argument("the Hessian at w is not finite");
    offset = tangent->offset(*problem, w);
    tangent->project(projected);
    spectrum = tangent->track();
  }
  return py::make_tuple(std::move(projected), dict_of(spectrum), dict_of(stats), offset.distance,
                        offset.slope);
}

/// What a flow runs on: the problem, or a piece of it if it is smooth only piece by piece.
struct Ground {
  explicit Ground(const std::shared_ptr<Problem>& whole) : problem(whole) {
    if (const auto* kinked = piecewise(*whole)) problem = piece = kinked->make_piece();
  }
  std::shared_ptr<const Problem> problem;
  std::shared_ptr<Piece> piece;
};

/// The unregularised flow, watched until it has landed.
class LandingRun {
 public:
  LandingRun(std::shared_ptr<Problem> problem, const Vector& w0, const std::string& curvature,
             double memory_budget, Index rank, double rtol, double rtol_rank, const RunOptions& options)
      : ground_(problem),
        watch_(ground_.problem,
               {rtol, curvature_kind(curvature), {rtol_rank, memory_budget, 0.0, signal_check()}}) {
    auto flow =
        std::make_shared<GradientFlow>(ground_.problem, Decay(problem->num_params(), 0.0),
                                       curvature_kind(curvature), CurvatureOptions{memory_budget, rank});
    std::unique_ptr<Modes> modes;
    if (ground_.piece)
      modes = std::make_unique<Modes>(ground_.piece, gradient_forces(*ground_.piece),
                                      Tolerance(options.rtol, options.atol));
    const auto look = [this, modes = modes.get()](double t, const ConstVectorRef& w, std::string& message) {
      Status status = watch_.step(t, w);
      // Newton's method may take over once it stays in the mode.
      if (status == Status::landed && modes && !modes->contains(watch_.settle(w, status).w))
        status = Status::running;
      if (status == Status::landed) message = "The flow is close to a minimiser.";
      if (status == Status::saddle) message = "The flow is at rest on a saddle.";
      return status;
    };
    run_ = std::make_unique<FlowRun>(std::move(flow), problem->quantities(), w0, options, look,
                                     std::move(modes));
  }

  FlowRun& run() { return *run_; }

  py::dict settle() {
    const Vector w = run_->run().w();
    const Status status = run_->integrator().status();
    py::gil_scoped_release unlocked;
    const Landing landing = watch_.settle(w, status);
    py::gil_scoped_acquire locked;
    py::dict out = dict_of(landing.spectrum);
    out["status"] = status_word(landing.status);
    out["message"] = landing.message;
    out["w"] = landing.w;
    out["pulled"] = landing.pulled;
    out["residual_norm"] = landing.residual_norm;
    out["curvature"] = to_string(landing.curvature);
    out["stats"] = grokflow::dict_of(watch_.stats());
    return out;
  }

 private:
  Ground ground_;
  LandingWatch watch_;
  std::unique_ptr<FlowRun> run_;
};

/// value(w) and gradient(w) of Python.
class CallbackRegularizer final : public Regularizer {
 public:
  CallbackRegularizer(py::object evaluate) : evaluate_(hold(std::move(evaluate))) {}

  double evaluate(const ConstVectorRef& w, VectorRef gradient) const override {
    py::gil_scoped_acquire locked;
    const py::tuple answer = (*evaluate_)(copy_of(w));
    gradient = answer[1].cast<Vector>();
    return answer[0].cast<double>();
  }

 private:
  std::shared_ptr<py::object> evaluate_;
};

std::shared_ptr<Regularizer> weighted_norm(const Rates& weights) {
  return std::make_shared<WeightedNorm>(make_decay(weights));
}

/// The drift, with its monitor.
class DriftRun {
 public:
  DriftRun(std::shared_ptr<Problem> problem, std::shared_ptr<const Regularizer> regularizer, const Vector& w0,
           const std::string& curvature, double memory_budget, double rtol_rank, bool stop_on_rank_change,
           double kkt_tol, const RunOptions& options)
      : ground_(problem),
        flow_(std::make_shared<NormFlow>(ground_.problem, regularizer, curvature_kind(curvature),
                                         TangentOptions{rtol_rank, memory_budget, 0.0, signal_check()})),
        monitor_(*flow_, {stop_on_rank_change, kkt_tol}) {
    std::unique_ptr<Modes> modes;
    if (ground_.piece) {
      require_sliding_drift(*problem, *regularizer);
      modes = std::make_unique<Modes>(ground_.piece,
                                      drift_forces(ground_.piece, regularizer, {rtol_rank, memory_budget}),
                                      Tolerance(options.rtol, options.atol));
    }
    auto quantities = problem->quantities();
    quantities.push_back(
        {"regularizer", 0,
         [regularizer, g = Vector(w0.size())](const ConstVectorRef& w, VectorRef out) mutable {
           out[0] = regularizer->evaluate(w, g);
         }});
    const auto look = [this](double s, const ConstVectorRef&, std::string& message) {
      return monitor_.step(s, message);
    };
    run_ = std::make_unique<FlowRun>(flow_, quantities, w0, options, look, std::move(modes));
  }

  FlowRun& run() { return *run_; }

  py::dict monitor() {
    run_->check_access();
    std::vector<double> eta, gap, largest;
    std::vector<Index> rank;
    for (const Spectrum& spectrum : monitor_.spectra()) {
      eta.push_back(spectrum.smallest);
      gap.push_back(spectrum.gap);
      largest.push_back(spectrum.largest);
      rank.push_back(spectrum.rank);
    }
    py::dict out;
    out["s"] = vector_of(monitor_.s());
    out["eta"] = vector_of(eta);
    out["rank"] = py::array_t<Index>(static_cast<py::ssize_t>(rank.size()), rank.data());
    out["gap"] = vector_of(gap);
    out["largest"] = vector_of(largest);
    return out;
  }

 private:
  /// The velocity of a neuron that slides is known if the regularizer is the norm, and multipliers if K is.
  static void require_sliding_drift(const Problem& problem, const Regularizer& regularizer) {
    const auto* norm = dynamic_cast<const WeightedNorm*>(&regularizer);
    if (!norm)
      throw std::invalid_argument(
          "the regularizer must be the norm, or rates by block: the activation of this network has a kink, "
          "and its neurons slide along data points");
    piecewise(problem)->require_decay(norm->weights());
  }

  Ground ground_;
  std::shared_ptr<NormFlow> flow_;
  DriftMonitor monitor_;
  std::unique_ptr<FlowRun> run_;
};

/// The problem, or if it is smooth only piece by piece the piece that the drift of this norm goes on in at w.
std::shared_ptr<Problem> drifting_piece(std::shared_ptr<Problem> problem, Vector w, const Rates& weights) {
  const auto* kinked = piecewise(*problem);
  if (!kinked) return problem;
  auto norm = std::make_shared<WeightedNorm>(make_decay(weights));
  kinked->require_decay(norm->weights());
  const std::shared_ptr<Piece> piece = kinked->make_piece();
  Modes modes(piece, drift_forces(piece, norm), Tolerance(1e-6, 1e-9));
  modes.begin(0.0, w);
  if (!modes.trouble().empty()) throw std::invalid_argument(modes.trouble());
  return piece;
}

/// Newton's method from w to M: (w, ||step||).
py::tuple pull_back(std::shared_ptr<Problem> problem, const Vector& w, const std::string& curvature,
                    double memory_budget, double rtol_rank) {
  Landing landing;
  const TangentOptions tangent{rtol_rank, memory_budget, 0.0, signal_check()};
  {
    py::gil_scoped_release unlocked;
    Ground ground(problem);
    if (ground.piece) stay_on_surfaces(*ground.piece, w);
    LandingWatch watch(ground.problem, {1e-6, curvature_kind(curvature), tangent});
    landing = watch.settle(w, Status::landed);
  }
  return py::make_tuple(std::move(landing.w), landing.pulled);
}

}  // namespace

void bind_limit(py::module_& m) {
  py::class_<Regularizer, std::shared_ptr<Regularizer>>(m, "Regularizer")
      .def("evaluate", [](const Regularizer& regularizer, const Vector& w) {
        Vector gradient(w.size());
        const double value = regularizer.evaluate(w, gradient);
        return py::make_tuple(value, std::move(gradient));
      });
  m.def("weighted_norm", &weighted_norm, py::arg("weights"));
  m.def("hessian_trace", [](std::shared_ptr<Problem> problem) -> std::shared_ptr<Regularizer> {
    return std::make_shared<HessianTrace>(std::move(problem));
  });
  m.def("callback_regularizer", [](py::object evaluate) -> std::shared_ptr<Regularizer> {
    return std::make_shared<CallbackRegularizer>(std::move(evaluate));
  });

  py::class_<LandingRun>(m, "LandingRun")
      .def(py::init<std::shared_ptr<Problem>, const Vector&, const std::string&, double, Index, double,
                    double, const RunOptions&>(),
           py::arg("problem"), py::arg("w0"), py::arg("curvature"), py::arg("memory_budget"), py::arg("rank"),
           py::arg("rtol"), py::arg("rtol_rank"), py::arg("options"), py::keep_alive<1, 2>())
      .def_property_readonly("run", &LandingRun::run, py::return_value_policy::reference_internal)
      .def("settle", &LandingRun::settle);

  py::class_<DriftRun>(m, "DriftRun")
      .def(py::init<std::shared_ptr<Problem>, std::shared_ptr<Regularizer>, const Vector&, const std::string&,
                    double, double, bool, double, const RunOptions&>(),
           py::arg("problem"), py::arg("regularizer"), py::arg("w0"), py::arg("curvature"),
           py::arg("memory_budget"), py::arg("rtol_rank"), py::arg("stop_on_rank_change"), py::arg("kkt_tol"),
           py::arg("options"), py::keep_alive<1, 2>())
      .def_property_readonly("run", &DriftRun::run, py::return_value_policy::reference_internal)
      .def("monitor", &DriftRun::monitor);

  m.def("tangent_projection", &tangent_projection, py::arg("problem"), py::arg("w"), py::arg("v"),
        py::arg("curvature"), py::arg("memory_budget"), py::arg("rtol_rank"));
  m.def("tangent_curvature_of",
        [](const Problem& problem, const std::string& curvature, double memory_budget, const Vector& w) {
          return to_string(choose_tangent_space(problem, curvature_kind(curvature), memory_budget, w));
        });
  m.def("drifting_piece", &drifting_piece, py::arg("problem"), py::arg("w"), py::arg("weights"),
        py::keep_alive<0, 1>(), py::call_guard<py::gil_scoped_release>());
  m.def("pull_back", &pull_back, py::arg("problem"), py::arg("w"), py::arg("curvature"),
        py::arg("memory_budget"), py::arg("rtol_rank"));
}
