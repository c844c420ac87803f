#include "grokflow/modes.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "numerics/orthogonal.hpp"
#include "piecewise/crossings.hpp"
#include "piecewise/kinks.hpp"

namespace grokflow {
namespace {

constexpr int kMostRounds = 100;
constexpr int kMostRoundsAtStart = 20;
constexpr double kAtOnce = 1e-2;    // of a step: what forces need to react to a change of mode, or they go on
constexpr double kInstant = 1e-10;  // relative: times that are too close for many changes of one unit
constexpr double kFalls = 1e-6;  // of the largest force: less of a jump is round-off where a sample is fitted

/// 0 counts as positive.
double sign_of(double gain) { return gain < 0.0 ? -1 : 1; }

}  // namespace

const PiecewiseProblem* piecewise(const Problem& problem) {
  const auto* kinked = dynamic_cast<const PiecewiseProblem*>(&problem);
  return kinked && kinked->has_kinks() ? kinked : nullptr;
}

Decay Piece::felt(Decay decay) const {
  decay.keep_to(slants());
  decay.tilt(tilt());
  return decay;
}

const char* to_string(ModeChange::Kind kind) {
  switch (kind) {
    case ModeChange::Kind::cross:
      return "cross";
    case ModeChange::Kind::stick:
      return "stick";
    case ModeChange::Kind::release:
      return "release";
    case ModeChange::Kind::pin:
      return "pin";
    default:
      return "split";
  }
}

/// Counts the changes of a unit around one instant.
struct Modes::Burst {
  double since = 0.0;
  int count = 0;
  bool crowded(double t, int most) {
    if (std::abs(t - since) > kInstant * std::abs(t)) {
      since = t;
      count = 0;
    }
    return ++count > most;
  }
  void state(Archive& archive) { archive(since, count); }
};

Modes::Modes(std::shared_ptr<Piece> piece, std::unique_ptr<Forces> forces, Tolerance tolerance)
    : piece_(std::move(piece)),
      forces_(std::move(forces)),
      crossings_(std::make_unique<Crossings>(piece_, *forces_, std::move(tolerance))),
      before_(piece_->num_forces()),
      force_(piece_->num_forces()),
      bursts_(piece_->num_units()) {}

Modes::~Modes() = default;

void Modes::begin(double t, VectorRef w) {
  piece_->set_time(t);
  if (begun_) return go_on(t, w);
  begun_ = true;
  const Index units = piece_->num_units(), surfaces = piece_->num_surfaces();
  crossings_->begin(w);
  const Matrix distances = crossings_->start().distances;
  const Vector& sizes = crossings_->sizes();
  std::vector<Index> touching;
  Mode sides(surfaces, units);
  held_ = Mode(surfaces, units);
  for (Index j = 0; j < units; ++j) {
    for (Index i = 0; i < surfaces; ++i) {
      sides(i, j) = distances(i, j) > kRoundOff * sizes[j] ? 1 : -1;
      held_(i, j) = std::abs(distances(i, j)) <= kRoundOff * sizes[j] ? 0 : sides(i, j);
    }
    if ((held_.col(j).array() == 0).any()) touching.push_back(j);
    piece_->enter(j, held_.col(j).data());
  }
  const bool falls = came_from_.size() > 0 && !touching.empty() && look_back(w);
  if (falls) forces_->lead(last_forces_);
  resolve_at_start(t, w, touching, sides);
  if (falls) let_fall(t, w);
  held_ = piece_->mode();
  settle(t, w);
}

/// Where the forces depend on the mode, what one unit does may decide what another does. What touches a surface has
/// come to slide, and goes on if it can: forces that it would feel beside the surface might keep it there, too.
void Modes::resolve_at_start(double t, VectorRef w, const std::vector<Index>& touching, const Mode& sides) {
  bool changed = true;
  for (int round = 0; round < kMostRoundsAtStart && changed; ++round) {
    const Mode before = piece_->mode();
    forces_->evaluate(w, before_);
    changes_.clear();
    for (const Index j : touching) {
      piece_->enter(j, sides.col(j).data());
      resolve(t, w, j, false);
    }
    changed = before != piece_->mode();
  }
}

/// The forces are those at the end of the last step: they have not yet reacted.
void Modes::go_on(double t, VectorRef w) {
  if (!crossings_->first().empty()) return change(t, 0.0, w);
  before_ = crossings_->start().force;
  h_ = 0.0;
  held_ = piece_->mode();
  settle(t, w);
}

void Modes::state(Archive& archive) {
  Mode mode = piece_->mode();
  archive(mode);
  if (archive.reading())
    for (Index j = 0; j < mode.cols(); ++j) piece_->enter(j, mode.col(j).data());
  archive(*crossings_, h_, before_, force_, held_, bursts_, last_unit_, in_a_row_, changes_, trouble_);
}

double Modes::end_of_mode(const OneStepMethod& method, double t, double h) {
  return crossings_->find(method, t, h);
}

double Modes::refine(const OneStepMethod& method, double t, double h) {
  return crossings_->refine(method, t, h);
}

bool Modes::contains(const ConstVectorRef& w) { return crossings_->contains(w); }

std::string Modes::falls_beside(const ConstVectorRef& w) {
  const Mode mode = piece_->mode();
  stay_on_surfaces(*piece_, w);
  Vector force(piece_->num_forces()), gains(piece_->num_units()), low(piece_->num_sliding()),
      high(piece_->num_sliding());
  forces_->evaluate(w, force);
  piece_->gains(w, gains);
  piece_->multipliers(gains.unaryExpr(&sign_of), w, force, low, high);
  const double least = -kFalls * force.lpNorm<Eigen::Infinity>();
  std::string found;
  Index slot = 0;
  for (Index j = 0; j < mode.cols(); ++j)
    for (Index i = 0; i < mode.rows(); ++i) {
      if (piece_->mode()(i, j) != 0) continue;
      if (found.empty() && gains[j] != 0.0 && std::min(low[slot], high[slot]) < least)
        found = piece_->describe(j, {i});
      ++slot;
    }
  for (Index j = 0; j < mode.cols(); ++j) piece_->enter(j, mode.col(j).data());
  return found;
}

void Modes::advance(VectorRef w) {
  last_unit_ = -1;
  piece_->hold(w);
  crossings_->advance();
}

void Modes::change(double t, double h, VectorRef w) {
  piece_->set_time(t);
  before_ = crossings_->force_at_end();
  h_ = h;
  last_ = held_ = piece_->mode();
  const Index unit = crossings_->first().front().unit;
  in_a_row_ = unit == last_unit_ ? in_a_row_ + 1 : 0;
  last_unit_ = unit;
  crossings_->begin(w);
  resolve_crossings(t, w);
  settle(t, w);
  goes_on_ = last_ == piece_->mode();
}

/// The force in the present mode. A reaction that moves w by more than its tolerance is a part of the path, and
/// left to the steps.
void Modes::react(const ConstVectorRef& w) {
  const double moved = forces_->react(w, before_, kAtOnce * h_, force_);
  if (moved > crossings_->tolerance(w.stableNorm())) force_ = before_;
}

/// w is given the force of the mode by a correction along the surfaces that it touches.
void Modes::restore(VectorRef w) {
  const Mode mode = piece_->mode();
  const auto enter = [&](const Mode& other) {
    for (Index j = 0; j < mode.cols(); ++j)
      if (held_.col(j) != mode.col(j)) piece_->enter(j, other.col(j).data());
  };
  enter(held_);
  forces_->restore(force_, h_, w);
  enter(mode);
}

/// Starts the next step from w in the present mode. Where the forces depend on the mode, a change of one unit
/// may end that of others at once: one after the other, as the forces go to their new equilibrium.
void Modes::settle(double t, VectorRef w) {
  for (int round = 0; round <= kMostRounds && trouble_.empty(); ++round) {
    crossings_->begin(w);
    react(w);
    crossings_->impose(force_);
    crossings_->find_at_start();
    if (crossings_->first().empty()) {
      restore(w);
      return;
    }
    if (crossings_->first().size() > 1) keep_first(w);
    resolve_crossings(t, w);
  }
}

void Modes::resolve_crossings(double t, VectorRef w) {
  std::vector<Index> units;
  for (const Crossing& c : crossings_->first())
    if (std::find(units.begin(), units.end(), c.unit) == units.end()) units.push_back(c.unit);
  for (const Index unit : units) resolve(t, w, unit, true);
  crossings_->clear();
}

void Modes::resolve(double t, VectorRef w, Index unit, bool moving) {
  Crossings& found = *crossings_;
  const Mode& mode = piece_->mode();
  const Index surfaces = piece_->num_surfaces();
  std::vector<Index> touching;
  std::vector<Touch> touches;
  std::vector<char> split(surfaces, 0);
  const bool turns = found.of(unit, Trigger::gain);
  if (turns)
    found.signs[unit] = -found.signs[unit];
  else if ((mode.col(unit).array() != 0).all())
    found.signs[unit] = sign_of(found.start().gains[unit]);
  const auto touch = [&](Index i) {
    const bool low = !turns && found.of(unit, Trigger::low, i),
               high = !turns && found.of(unit, Trigger::high, i);
    touching.push_back(i);
    touches.push_back({static_cast<Side>(mode(i, unit)), low || high, low ? Side::off : Side::on});
    split[i] = (low && high) || (turns && mode(i, unit) == 0);
  };
  const auto touch_all = [&] {
    touching.clear();
    touches.clear();
    for (Index i = 0; i < surfaces; ++i) {
      const double distance = std::abs(found.start().distances(i, unit));
      if (mode(i, unit) == 0 || distance <= kRoundOff * found.sizes()[unit] ||
          found.of(unit, Trigger::distance, i))
        touch(i);
    }
  };
  touch_all();
  const bool pinned = piece_->snap(unit, touching, w);
  if (pinned) {  // others may meet there: without offsets all do, at y = 0
    found.begin(w);
    touch_all();
  }
  Kinks kinks;
  piece_->kinks(found.signs[unit], w, before_, unit, touching, kinks);
  std::vector<signed char> sides(surfaces);
  for (Index i = 0; i < surfaces; ++i) sides[i] = mode(i, unit);
  // The multipliers on the surfaces met, all slid on, tell from which sides they attract the unit in the end.
  if (static_cast<Index>(touching.size()) <= kinks.normals.rows()) {
    for (const Index i : touching) held_(i, unit) = 0;
    piece_->enter(unit, held_.col(unit).data());
    react(w);
    piece_->enter(unit, sides.data());
  } else {
    react(w);
  }
  piece_->kinks(found.signs[unit], w, force_, unit, touching, kinks);
  if (kinks.lean.size() > 0 && std::find(split.begin(), split.end(), true) != split.end()) {
    const Vector pushed = least_squares(kinks.normals, kinks.lean);
    for (std::size_t f = 0; f < touching.size(); ++f) {
      if (!split[touching[f]] || pushed[f] == 0.0) continue;
      touches[f].forced = true;
      touches[f].towards = pushed[f] > 0.0 ? Side::on : Side::off;
      split[touching[f]] = false;
    }
  }
  const Resolution next = resolve_kinks(kinks, touches, moving);
  const int most = 40 + 4 * static_cast<int>(surfaces);
  const bool crowded = bursts_[unit].crowded(t, most) || in_a_row_ > most;
  if (!next.found || crowded) {
    std::ostringstream text;
    text << "No mode was found to go on in at t = " << t << " for " << piece_->describe(unit, touching)
         << (crowded ? ": it changed more than " + std::to_string(most) + " times in a row." : ".")
         << " Try another rtol, a smaller one down to 1e-10: beyond, round-off may choose the points met.";
    trouble_ = text.str();
    return;
  }
  for (std::size_t f = 0; f < touching.size(); ++f) {
    using Kind = ModeChange::Kind;
    const Index i = touching[f];
    const Side before = touches[f].before, after = next.sides[f];
    sides[i] = static_cast<signed char>(after);
    const bool splits = next.split[f] || split[i];
    if (!splits && (after == before || (!moving && after != Side::slide))) continue;
    const Kind kind = splits                   ? Kind::split
                      : before == Side::slide  ? Kind::release
                      : after != Side::slide   ? Kind::cross
                      : pinned && next.at_rest ? Kind::pin
                                               : Kind::stick;
    changes_.push_back({t, piece_->index(unit), piece_->sample(i), kind});
  }
  piece_->enter(unit, sides.data());
}

void stay_on_surfaces(Piece& piece, const ConstVectorRef& w) {
  Matrix distances(piece.num_surfaces(), piece.num_units());
  Vector sizes(piece.num_units());
  piece.distances(w, distances);
  piece.sizes(w, sizes);
  std::vector<signed char> sides(piece.num_surfaces());
  for (Index j = 0; j < piece.num_units(); ++j) {
    for (Index i = 0; i < piece.num_surfaces(); ++i) {
      const double distance = distances(i, j);
      const bool touches = std::abs(distance) < kRoundOff * sizes[j];
      sides[i] = touches ? 0 : distance > 0.0 ? 1 : -1;
    }
    piece.enter(j, sides.data());
  }
}

}  // namespace grokflow
