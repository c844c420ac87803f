// Modes while forces fall, as exp(-K t): from those of a flow to those of the drift, or from one equilibrium to another.
#include <algorithm>
#include <cmath>
#include <utility>

#include "grokflow/modes.hpp"
#include "numerics/symmetric_eigen.hpp"
#include "piecewise/crossings.hpp"

namespace grokflow {
namespace {

constexpr int kMostRounds = 100;
constexpr double kFarAbove = 1e6;    // the forces of the drift, where the last ones of a flow decide alone,
constexpr double kFallen = 1e-6;     // and the part by which they fall beyond a change of mode, to see it
constexpr double kSingular = 1e-12;  // an eigenvalue of K that counts as zero, over the largest
constexpr double kSoon = 1e-6;       // times, over that of the fastest mode of K, to look at,
constexpr double kLate = 40.0;       // over that of the slowest,
constexpr double kLonger = 1.5;      // and over each other
constexpr int kHalvings = 50;

}  // namespace

void Modes::find_modes(const ConstVectorRef& w, SymmetricEigen& modes) const {
  std::unique_ptr<Linearization> lin;
  piece_->linearize(w, lin);
  Matrix K(piece_->num_rows(), piece_->num_rows());
  lin->gram(0, piece_->num_params(), K);
  modes.compute(K);
}

/// In the end forces fall along the direction in which they do so most slowly: that of the least eigenvalue of K.
/// False if the flow had none any more.
bool Modes::look_back(const ConstVectorRef& w) {
  last_forces_.resize(piece_->num_forces());
  piece_->slopes(came_from_, last_forces_);
  SymmetricEigen modes;
  find_modes(w, modes);
  Index slowest = 0;
  while (slowest + 1 < modes.values().size() &&
         modes.values()[slowest] <= kSingular * modes.values().maxCoeff())
    ++slowest;
  Vector rows(modes.values().size());
  piece_->to_rows(w, last_forces_, rows);
  rows = modes.vectors().col(slowest) * modes.vectors().col(slowest).dot(rows);
  piece_->from_rows(w, rows, last_forces_);
  const double size = last_forces_.norm();
  forces_->evaluate(w, before_);
  last_forces_ *= kFarAbove * before_.norm() / size;
  return size > 0.0 && last_forces_.allFinite();
}

/// The last forces of the flow fall to nothing, and those of the drift are left. Multipliers are linear in them.
void Modes::let_fall(double t, VectorRef w) {
  double share = 1.0;
  for (int round = 0; round < kMostRounds && share > 0.0 && trouble_.empty(); ++round) {
    crossings_->begin(w);
    forces_->lead(share * last_forces_);
    forces_->evaluate(w, before_);
    crossings_->impose(before_);
    const Vector low = crossings_->start().low, high = crossings_->start().high;
    crossings_->impose(before_ - share * last_forces_);
    const Look& end = crossings_->start();
    double next = 0.0;  // part of the share that is left when the first of them reaches its bound
    for (Index i = 0; i < low.size(); ++i) {
      const double slack = kFallen * (std::abs(end.low[i]) + std::abs(end.high[i]));
      for (const auto& [from, to] : {std::pair{low[i], end.low[i]}, std::pair{high[i], end.high[i]}})
        if (to < -slack) next = std::max(next, from > 0.0 ? to / (to - from) : 1.0);
    }
    share *= next * (1.0 - kFallen);
    forces_->lead(share * last_forces_);
    forces_->evaluate(w, before_);
    crossings_->impose(before_);
    crossings_->find_at_start();
    held_ = piece_->mode();
    resolve_crossings(t, w);
  }
  forces_->lead(Vector::Zero(last_forces_.size()));
  forces_->evaluate(w, before_);
}

/// Of several multipliers that the forces take over their bounds, those that they take there first: in units of slow
/// time they go to their new equilibrium at once, but they go there as exp(-K t).
void Modes::keep_first(const ConstVectorRef& w) {
  if (!piece_->forces_react()) return;
  SymmetricEigen modes;
  find_modes(w, modes);
  const auto rates = modes.values().array().max(0.0);
  const double fastest = rates.maxCoeff();
  Vector rows(modes.values().size()), force(before_.size());
  piece_->to_rows(w, before_ - force_, rows);
  const Vector parts = modes.vectors().transpose() * rows;
  const auto least_at = [&](double time) {
    rows = modes.vectors() * (parts.array() * (-time * rates).exp()).matrix();
    piece_->from_rows(w, rows, force);
    force += force_;
    return crossings_->least_of_found(force);
  };
  double earlier = 0.0, later = kSoon / fastest;
  while (least_at(later) > 0.0 && later < kLate / (kSingular * fastest))
    earlier = std::exchange(later, kLonger * later);
  for (int halving = 0; halving < kHalvings; ++halving) {
    const double middle = 0.5 * (earlier + later);
    (least_at(middle) > 0.0 ? earlier : later) = middle;
  }
  least_at(later);
  crossings_->keep_reached(force);
  before_ = force;
}

}  // namespace grokflow
