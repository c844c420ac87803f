#include "grokflow/piecewise.hpp"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>

#include "piecewise/bernstein.hpp"
#include "piecewise/kinks.hpp"

namespace grokflow {
namespace {

constexpr double kRoundOff = 32.0 * std::numeric_limits<double>::epsilon();
constexpr double kSlack = 0.01;         // of the tolerance: an excursion over a surface that is not seen
constexpr double kSlackOfTheta = 1e-8;  // the same for multipliers
constexpr int kMostRounds = 100;
constexpr int kMostRoundsAtStart = 20;
constexpr double kTogether = 1e-12;  // fractions of a step that are one instant
constexpr double kShortest = 1e-10;  // fraction of a step for a mode that ends at once
constexpr double kFarthest = 0.05;   // correction of the length of a step that was cut short
constexpr double kInstant = 1e-10;   // relative: times that are too close for many changes of one unit

}  // namespace

const PiecewiseProblem* piecewise(const Problem& problem) {
  const auto* kinked = dynamic_cast<const PiecewiseProblem*>(&problem);
  return kinked && kinked->has_kinks() ? kinked : nullptr;
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

Modes::Modes(std::shared_ptr<Piece> piece, Forces forces, Tolerance tolerance)
    : piece_(std::move(piece)),
      forces_(std::move(forces)),
      tolerance_(std::move(tolerance)),
      looks_(1),
      state_(piece_->num_params()),
      residual_(piece_->num_residuals()),
      force_(piece_->num_residuals()),
      sizes_(piece_->num_units()),
      signs_(Vector::Ones(piece_->num_units())),
      recent_(piece_->num_units()) {}

void Modes::begin(double t, VectorRef w) {
  const Index units = piece_->num_units(), surfaces = piece_->num_surfaces();
  look(w, looks_[0]);
  piece_->sizes(w, sizes_);
  const Matrix& distances = looks_[0].distances;
  std::vector<Index> touching;
  Mode sides(surfaces, units);
  for (Index j = 0; j < units; ++j) {
    for (Index i = 0; i < surfaces; ++i) sides(i, j) = distances(i, j) > kRoundOff * sizes_[j] ? 1 : -1;
    if ((distances.col(j).array().abs() <= kRoundOff * sizes_[j]).any()) touching.push_back(j);
    piece_->enter(j, sides.col(j).data());
  }
  // Where the forces depend on the mode, what one unit does may decide what another does.
  bool changed = true;
  for (int round = 0; round < kMostRoundsAtStart && changed; ++round) {
    const Mode before = piece_->mode();
    look(w, looks_[0]);
    changes_.clear();
    for (const Index j : touching) {
      piece_->enter(j, sides.col(j).data());
      resolve(t, w, j, false);
    }
    changed = before != piece_->mode();
  }
  settle(t, w);
}

void Modes::look(const ConstVectorRef& w, Look& out) {
  out.distances.resize(piece_->num_surfaces(), piece_->num_units());
  piece_->look(w, out.distances, residual_);
  forces_(w, residual_, force_);
  const Index sliding = piece_->num_sliding();
  out.gains.resize(piece_->num_units());
  piece_->gains(w, out.gains);
  out.low.resize(sliding);
  out.high.resize(sliding);
  if (sliding > 0) piece_->multipliers(signs_, force_, out.low, out.high);
}

void Modes::look_along(const OneStepMethod& method) {
  const std::vector<double>& nodes = method.nodes();
  const Index degree = static_cast<Index>(nodes.size());
  if (to_bernstein_.size() == 0) {
    Matrix basis(degree + 1, degree + 1);
    basis.row(0) = bernstein_basis(degree, 0.0);
    for (Index l = 0; l < degree; ++l) basis.row(l + 1) = bernstein_basis(degree, nodes[l]);
    to_bernstein_ = basis.inverse();
    looks_.resize(degree + 1);
  }
  for (Index l = 0; l < degree; ++l) {
    method.preview(nodes[l], state_);
    look(state_, looks_[l + 1]);
  }
  piece_->sizes(state_, sizes_);
}

/// The values of one switching function at the nodes, as a polynomial.
template <class Value>
Bernstein Modes::interpolant(Value&& value) const {
  Bernstein b{};
  const Index size = static_cast<Index>(looks_.size());
  for (Index l = 0; l < size; ++l) {
    const double v = value(looks_[l]);
    for (Index i = 0; i < size; ++i) b[i] += to_bernstein_(i, l) * v;
  }
  return b;
}

Bernstein Modes::polynomial(const Crossing& c) const {
  switch (c.trigger) {
    case Trigger::low:
      return interpolant([&](const Look& at) { return at.low[c.slot]; });
    case Trigger::high:
      return interpolant([&](const Look& at) { return at.high[c.slot]; });
    case Trigger::gain:
      return interpolant([&](const Look& at) { return signs_[c.unit] * at.gains[c.unit]; });
    default:
      break;
  }
  const double side = piece_->mode()(c.surface, c.unit);
  return interpolant([&](const Look& at) { return side * at.distances(c.surface, c.unit); });
}

/// Notes where a switching function ends its mode. One that starts at 0 but for `slack`, as each does that
/// has just changed, may go below by `slack`: so near the surface the path is not known to either side of it.
void Modes::examine(Crossing c, double slack) {
  Bernstein b = polynomial(c);
  const int degree = static_cast<int>(looks_.size()) - 1;
  const auto least = *std::min_element(b.begin(), b.begin() + degree + 1);
  if (least > -slack) return;
  Bernstein below = b;
  for (double& value : below) value += slack;
  c.x = first_zero(below, degree);
  if (c.x > 1.0) return;
  c.level = b[0] > slack ? 0.0 : slack;
  if (c.level == 0.0) c.x = first_zero(b, degree);
  c.x = std::max(c.x, kShortest);
  crossings_.push_back(c);
}

void Modes::find_crossings() {
  crossings_.clear();
  const Mode& mode = piece_->mode();
  const double atol = tolerance_.atol.minCoeff();
  const Look& start = looks_.front();
  const double amplification =
      to_bernstein_.cwiseAbs().rowwise().sum().maxCoeff();  // of values to coefficients
  Index slot = 0;
  for (Index j = 0; j < mode.cols(); ++j) {
    const double slack = kSlack * (atol + tolerance_.rtol * sizes_[j]);
    if ((mode.col(j).array() == 0).any()) examine({2.0, j, 0, 0, Trigger::gain, 0.0}, kSlack * atol);
    for (Index i = 0; i < mode.rows(); ++i) {
      if (mode(i, j) == 0) {
        const double small = kSlackOfTheta * (start.low[slot] + start.high[slot]);
        examine({2.0, j, i, slot, Trigger::low, 0.0}, small);
        examine({2.0, j, i, slot, Trigger::high, 0.0}, small);
        ++slot;
        continue;
      }
      // Far from a surface, compared with how far it moves, w does not reach it.
      const double side = mode(i, j);
      double least = side * start.distances(i, j), most = least;
      for (std::size_t l = 1; l < looks_.size(); ++l) {
        const double distance = side * looks_[l].distances(i, j);
        least = std::min(least, distance), most = std::max(most, distance);
      }
      const bool far = least > amplification * (most - least);
      if (!far) examine({2.0, j, i, 0, Trigger::distance, 0.0}, slack);
    }
  }
  std::stable_sort(crossings_.begin(), crossings_.end(),
                   [](const Crossing& a, const Crossing& b) { return a.x < b.x; });
  const auto later = [&](const Crossing& c) { return c.x > crossings_.front().x + kTogether; };
  crossings_.erase(std::find_if(crossings_.begin(), crossings_.end(), later), crossings_.end());
}

double Modes::end_of_mode(const OneStepMethod& method) {
  look_along(method);
  find_crossings();
  return crossings_.empty() ? 2.0 : crossings_.front().x;
}

double Modes::refine(const OneStepMethod& method) {
  look_along(method);
  const Crossing& first = crossings_.front();
  const int degree = static_cast<int>(looks_.size()) - 1;
  const Bernstein b = polynomial(first);
  const auto value = [&](double x) {
    const Vector basis = bernstein_basis(degree, x);
    return std::inner_product(basis.begin(), basis.end(), b.begin(), first.level);
  };
  double last = 1.0 - 0.01, x = 1.0, f_last = value(last), f = value(x);
  for (int i = 0; i < 6 && f != 0.0; ++i) {
    const double next = x - f * (x - last) / (f - f_last);
    if (!(std::abs(next - 1.0) <= kFarthest)) return 1.0;
    last = x, f_last = f;
    x = next, f = value(x);
    if (x == last) break;
  }
  return x;
}

void Modes::advance(VectorRef w) {
  last_unit_ = -1;
  piece_->project(w);
  std::swap(looks_.front(), looks_.back());
}

void Modes::change(double t, VectorRef w) {
  in_a_row_ = crossings_.front().unit == last_unit_ ? in_a_row_ + 1 : 0;
  last_unit_ = crossings_.front().unit;
  look(w, looks_[0]);
  piece_->sizes(w, sizes_);
  resolve_crossings(t, w);
  settle(t, w);
}

/// Starts the next step from w in the present mode. Where the forces depend on the mode, a change of one unit
/// may end that of others at once.
void Modes::settle(double t, VectorRef w) {
  for (int round = 0; round <= kMostRounds && trouble_.empty(); ++round) {
    look(w, looks_[0]);
    piece_->sizes(w, sizes_);
    const Look& start = looks_[0];
    const Mode& mode = piece_->mode();
    Index slot = 0;
    for (Index j = 0; j < mode.cols(); ++j)
      for (Index i = 0; i < mode.rows(); ++i) {
        if (mode(i, j) != 0) continue;
        const double low = start.low[slot], high = start.high[slot], jump = std::max(low + high, 0.0);
        if (low < -kSlackOfTheta * jump) crossings_.push_back({0.0, j, i, slot, Trigger::low, 0.0});
        if (high < -kSlackOfTheta * jump) crossings_.push_back({0.0, j, i, slot, Trigger::high, 0.0});
        ++slot;
      }
    if (crossings_.empty()) return;
    resolve_crossings(t, w);
  }
}

void Modes::resolve_crossings(double t, VectorRef w) {
  std::vector<Index> units;
  for (const Crossing& c : crossings_)
    if (std::find(units.begin(), units.end(), c.unit) == units.end()) units.push_back(c.unit);
  for (const Index unit : units) resolve(t, w, unit, true);
  crossings_.clear();
}

bool Modes::ends(Index unit, Trigger trigger) const {
  return std::any_of(crossings_.begin(), crossings_.end(),
                     [&](const Crossing& c) { return c.unit == unit && c.trigger == trigger; });
}

bool Modes::ends(Index unit, Trigger trigger, Index surface) const {
  return std::any_of(crossings_.begin(), crossings_.end(), [&](const Crossing& c) {
    return c.unit == unit && c.trigger == trigger && c.surface == surface;
  });
}

void Modes::resolve(double t, VectorRef w, Index unit, bool moving) {
  const Mode& mode = piece_->mode();
  const Index surfaces = piece_->num_surfaces();
  std::vector<Index> touching;
  std::vector<Touch> touches;
  std::vector<char> split(surfaces, 0);
  const bool turns = ends(unit, Trigger::gain);
  if (turns)
    signs_[unit] = -signs_[unit];
  else if ((mode.col(unit).array() != 0).all())
    signs_[unit] = looks_[0].gains[unit] < 0.0 ? -1.0 : 1.0;
  const auto touch = [&](Index i) {
    const bool low = !turns && ends(unit, Trigger::low, i), high = !turns && ends(unit, Trigger::high, i);
    touching.push_back(i);
    touches.push_back({static_cast<Side>(mode(i, unit)), low || high, low ? Side::off : Side::on});
    split[i] = low && high;
  };
  for (Index i = 0; i < surfaces; ++i) {
    const double distance = std::abs(looks_[0].distances(i, unit));
    if (mode(i, unit) == 0 || distance <= kRoundOff * sizes_[unit] || ends(unit, Trigger::distance, i))
      touch(i);
  }
  const bool pinned = piece_->snap(unit, touching, w);
  if (pinned) {  // at 0 every surface is touched
    touching.clear();
    touches.clear();
    for (Index i = 0; i < surfaces; ++i) touch(i);
  }
  Kinks kinks;
  piece_->kinks(signs_[unit], force_, unit, touching, kinks);
  const Resolution next = resolve_kinks(kinks, touches, moving);
  const int most = 40 + 4 * static_cast<int>(surfaces);
  const bool crowded = recent_[unit].crowded(t, most) || in_a_row_ > most;
  if (!next.found || crowded) {
    std::ostringstream text;
    text << "No mode was found to go on in at t = " << t << " for " << piece_->describe(unit, touching)
         << (crowded ? ": it changed more than " + std::to_string(most) + " times in a row." : ".");
    trouble_ = text.str();
    return;
  }
  std::vector<signed char> sides(surfaces);
  for (Index i = 0; i < surfaces; ++i) sides[i] = mode(i, unit);
  for (std::size_t f = 0; f < touching.size(); ++f) {
    using Kind = ModeChange::Kind;
    const Index i = touching[f];
    const Side before = touches[f].before, after = next.sides[f];
    sides[i] = static_cast<signed char>(after);
    const bool splits = next.split[f] || split[i] || (turns && before == Side::slide);
    if (!splits && (after == before || (!moving && after != Side::slide))) continue;
    const Kind kind = splits                   ? Kind::split
                      : before == Side::slide  ? Kind::release
                      : after != Side::slide   ? Kind::cross
                      : pinned && next.at_rest ? Kind::pin
                                               : Kind::stick;
    changes_.push_back({t, unit, piece_->sample(i), kind});
  }
  piece_->enter(unit, sides.data());
}

bool Modes::contains(const ConstVectorRef& w) {
  piece_->look(w, looks_.back().distances, residual_);
  const Matrix& distances = looks_.back().distances;
  piece_->sizes(w, sizes_);
  const double atol = tolerance_.atol.minCoeff();
  const Mode& mode = piece_->mode();
  for (Index j = 0; j < mode.cols(); ++j)
    for (Index i = 0; i < mode.rows(); ++i)
      if (mode(i, j) * distances(i, j) < -kSlack * (atol + tolerance_.rtol * sizes_[j])) return false;
  return true;
}

void stay_on_surfaces(Piece& piece, const ConstVectorRef& w) {
  Matrix distances(piece.num_surfaces(), piece.num_units());
  Vector residual(piece.num_residuals()), sizes(piece.num_units());
  piece.look(w, distances, residual);
  piece.sizes(w, sizes);
  std::vector<signed char> sides(piece.num_surfaces());
  for (Index j = 0; j < piece.num_units(); ++j) {
    for (Index i = 0; i < piece.num_surfaces(); ++i) {
      const double distance = distances(i, j);
      const bool touches = std::abs(distance) <= kRoundOff * sizes[j] && sizes[j] > 0.0;
      sides[i] = touches ? 0 : distance > 0.0 ? 1 : -1;
    }
    piece.enter(j, sides.data());
  }
}

/// Counts the changes of a unit around one instant.
bool Modes::Recent::crowded(double t, int most) {
  if (count == 0 || std::abs(t - since) > kInstant * std::abs(t)) {
    since = t;
    count = 0;
  }
  return ++count > most;
}

}  // namespace grokflow
