#include "grokflow/gradient_flow.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "grokflow/piecewise.hpp"

namespace grokflow {
namespace {

const Problem& existing(const std::shared_ptr<const Problem>& problem) {
  if (!problem) throw std::invalid_argument("the problem is a null pointer");
  return *problem;
}

/// As it is felt on the surfaces of a piece.
Decay felt(Decay decay, const Problem& problem) {
  const auto* piece = dynamic_cast<const Piece*>(&problem);
  return piece ? piece->felt(std::move(decay)) : decay;
}

}  // namespace

GradientFlow::GradientFlow(std::shared_ptr<const Problem> problem, Decay decay, CurvatureKind curvature,
                           const CurvatureOptions& options, Schedule schedule, double t0)
    : problem_(std::move(problem)),
      whole_(felt(std::move(decay), existing(problem_))),
      decay_(whole_),
      schedule_(std::move(schedule)),
      begins_{t0},
      curvature_(choose_curvature(existing(problem_), curvature, options.memory_budget)),
      options_(options) {
  decay_.require_size(size());
  for (const double time : schedule_.breaks) {
    if (!(time > begins_.back()))
      throw std::invalid_argument("the breaks of a schedule must be sorted, and come after the start");
    begins_.push_back(time);
  }
}

double GradientFlow::length_of_piece(Index piece) const {
  if (piece + 1 >= num_pieces()) return std::numeric_limits<double>::infinity();
  return begins_[piece + 1] - begins_[piece];
}

double GradientFlow::factor() const { return decay_factor(begins_[piece_] + time()); }

double GradientFlow::decay_factor(double t) const {
  if (!schedule_) return 1.0;
  constexpr double kEver = std::numeric_limits<double>::infinity();
  if (piece_ > 0) t = std::max(t, std::nextafter(begins_[piece_], kEver));
  if (piece_ + 1 < num_pieces()) t = std::min(t, std::nextafter(begins_[piece_ + 1], -kEver));
  return schedule_.factor(t);
}

void GradientFlow::compute_rhs(const ConstVectorRef& w, VectorRef out) {
  problem_->gradient(w, out);
  out = -out;
  whole_.add_gradient(-factor(), w, out);
}

void GradientFlow::compute_rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out,
                               VectorRef gap) {
  problem_->linearize(w, at_);
  gap = *at_->scaled_residual() - forces;
  at_->vjp(forces, out);
  out = -out;
  whole_.add_gradient(-factor(), w, out);
}

void GradientFlow::forces(const ConstVectorRef& w, VectorRef out) {
  problem_->residual(w, out);
  out *= problem_->scale();
}

void GradientFlow::compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  if (curvature_ == CurvatureKind::none) return Flow::compute_linearization(w, lin);
  if (!lin) {
    auto made = make_curvature(curvature_, problem_, decay_, stats(), options_);
    made->checkpoint = [this] { check(); };
    lin = std::move(made);
  }
  if (schedule_) decay_.assign(factor(), whole_);
  static_cast<Curvature&>(*lin).linearize(w);
}

}  // namespace grokflow
