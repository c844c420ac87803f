#include "piecewise/crossings.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "numerics/shifted_factor.hpp"

namespace grokflow {
namespace {

constexpr double kSlack = 1e-4;         // of the tolerance: an excursion over a surface that is not seen,
constexpr double kNearly = 0.01;        // and one that leaves w nearly in the mode
constexpr double kSlackOfTheta = 1e-8;  // the same for multipliers
constexpr double kTogether = 1e-12;     // fractions of a step that are one instant,
constexpr double kAlike = 1e-6;  // and multipliers, relative to the jump, that reach their bounds together
constexpr double kShortest = 1e-10;  // fraction of a step for a mode that ends at once
constexpr double kFarthest = 0.05;   // beyond the end of a step: its path is still good

/// Of the values at the nodes, that of their polynomial at x.
Vector interpolation_weights(const std::vector<double>& nodes, double x) {
  Vector weights = Vector::Ones(static_cast<Index>(nodes.size()));
  for (std::size_t l = 0; l < nodes.size(); ++l)
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (i != l) weights[l] *= (x - nodes[i]) / (nodes[l] - nodes[i]);
  return weights;
}

}  // namespace

Crossings::Crossings(std::shared_ptr<Piece> piece, Forces& forces, Tolerance tolerance)
    : signs(Vector::Ones(piece->num_units())),
      piece_(std::move(piece)),
      forces_(forces),
      rtol_(tolerance.rtol),
      atol_(tolerance.atol.minCoeff()),
      looks_(1),
      state_(piece_->num_params()),
      force_(piece_->num_forces()),
      sizes_(piece_->num_units()) {}

void Crossings::begin(const ConstVectorRef& w) {
  look(w, looks_[0]);
  piece_->sizes(w, sizes_);
}

void Crossings::look(const ConstVectorRef& w, Look& out) {
  out.w = w;
  out.distances.resize(piece_->num_surfaces(), piece_->num_units());
  piece_->distances(w, out.distances);
  out.gains.resize(piece_->num_units());
  piece_->gains(w, out.gains);
}

void Crossings::impose(const ConstVectorRef& force, Look& at) const {
  at.force = force;
  const Index sliding = piece_->num_sliding();
  at.low.resize(sliding);
  at.high.resize(sliding);
  if (sliding > 0) piece_->multipliers(signs, at.w, at.force, at.low, at.high);
}

Vector Crossings::force_at_end() const {
  // Before the first node it is that of the start which counts.
  std::vector<double> nodes = nodes_;
  if (end_ < nodes_.front()) nodes.insert(nodes.begin(), 0.0);
  const Vector weights = interpolation_weights(nodes, end_);
  const Index first = static_cast<Index>(looks_.size()) - weights.size();
  Vector force = Vector::Zero(piece_->num_forces());
  for (Index l = 0; l < weights.size(); ++l) force += weights[l] * looks_[first + l].force;
  return force;
}

void Crossings::look_along(const OneStepMethod& method, double t, double h) {
  const Index degree = static_cast<Index>(method.nodes().size());
  if (to_bernstein_.size() == 0) {
    nodes_ = method.nodes();
    to_start_ = interpolation_weights(nodes_, 0.0);
    Matrix basis(degree + 1, degree + 1);
    basis.row(0) = bernstein_basis(degree, 0.0);
    for (Index l = 0; l < degree; ++l) basis.row(l + 1) = bernstein_basis(degree, nodes_[l]);
    to_bernstein_ = inverse(basis);
    looks_.resize(degree + 1);
  }
  for (Index l = 0; l < degree; ++l) {
    method.preview(nodes_[l], state_);
    piece_->set_time(t + nodes_[l] * h);
    look(state_, looks_[l + 1]);
    if (method.forces().cols() > 0)
      force_ = method.forces().col(l);
    else
      forces_.evaluate(state_, force_);
    impose(force_, looks_[l + 1]);
  }
  piece_->sizes(state_, sizes_);
  // Forces that have not yet reacted to a change of mode say nothing of the path of a long step.
  Look& start = looks_.front();
  start.low.setZero(piece_->num_sliding());
  start.high.setZero(piece_->num_sliding());
  for (Index l = 0; l < degree; ++l) {
    start.low += to_start_[l] * looks_[l + 1].low;
    start.high += to_start_[l] * looks_[l + 1].high;
  }
}

/// The values of one switching function at the nodes, as a polynomial.
template <class Value>
Bernstein Crossings::interpolant(Value&& value) const {
  Bernstein b{};
  const Index size = static_cast<Index>(looks_.size());
  for (Index l = 0; l < size; ++l) {
    const double v = value(looks_[l]);
    for (Index i = 0; i < size; ++i) b[i] += to_bernstein_(i, l) * v;
  }
  return b;
}

Bernstein Crossings::polynomial(const Crossing& c) const {
  switch (c.trigger) {
    case Trigger::low:
      return interpolant([&](const Look& at) { return at.low[c.slot]; });
    case Trigger::high:
      return interpolant([&](const Look& at) { return at.high[c.slot]; });
    case Trigger::gain:
      return interpolant([&](const Look& at) { return signs[c.unit] * at.gains[c.unit]; });
    default:
      break;
  }
  const double side = piece_->mode()(c.surface, c.unit);
  return interpolant([&](const Look& at) { return side * at.distances(c.surface, c.unit); });
}

/// Notes where a switching function ends its mode. One that starts at 0 but for `slack`, as each does that
/// has just changed, may go below by `slack`: so near the surface the path is not known to either side of it.
void Crossings::examine(Crossing c, double slack) {
  Bernstein b = polynomial(c);
  const int degree = static_cast<int>(looks_.size()) - 1;
  const auto least = *std::min_element(b.begin(), b.begin() + degree + 1);
  if (least > -slack) return;
  Bernstein below = b;
  for (double& value : below) value += slack;
  c.x = first_zero(below, degree);
  if (c.x == Modes::kNone) return;
  c.level = b[0] > slack ? 0.0 : slack;
  if (c.level == 0.0) c.x = first_zero(b, degree);
  c.x = std::max(c.x, kShortest);
  first_.push_back(c);
}

/// Whether the multiplier is so near to its bound at x.
bool Crossings::alike(const Crossing& c, double x) const {
  if (c.trigger != Trigger::low && c.trigger != Trigger::high) return false;
  const Bernstein b = polynomial(c);
  const Vector basis = bernstein_basis(static_cast<int>(looks_.size()) - 1, x);
  const double value = std::inner_product(basis.begin(), basis.end(), b.begin(), 0.0);
  return value <= kAlike * (looks_.back().low[c.slot] + looks_.back().high[c.slot]);
}

/// Far from a surface, compared with how far it moves, w does not reach it.
void Crossings::find_near() {
  const double amplification =
      to_bernstein_.cwiseAbs().rowwise().sum().maxCoeff();  // of values to coefficients
  const auto side = piece_->mode().cast<double>().array();
  least_ = most_ = side * start().distances.array();
  for (std::size_t l = 1; l < looks_.size(); ++l) {
    const auto distance = side * looks_[l].distances.array();
    least_ = least_.min(distance), most_ = most_.max(distance);
  }
  near_ = !(least_ > amplification * (most_ - least_));
}

double Crossings::find(const OneStepMethod& method, double t, double h) {
  look_along(method, t, h);
  clear();
  find_near();
  const Mode& mode = piece_->mode();
  Index slot = 0;
  for (Index j = 0; j < mode.cols(); ++j) {
    if ((mode.col(j).array() == 0).any())
      examine({Modes::kNone, j, 0, 0, Trigger::gain, 0.0}, kSlack * atol_);
    for (Index i = 0; i < mode.rows(); ++i) {
      if (mode(i, j) == 0) {
        const double small = kSlackOfTheta * (start().low[slot] + start().high[slot]);
        examine({Modes::kNone, j, i, slot, Trigger::low, 0.0}, small);
        examine({Modes::kNone, j, i, slot, Trigger::high, 0.0}, small);
        ++slot;
        continue;
      }
      const double slack = std::max(kSlack * tolerance(sizes_[j]), kRoundOff * sizes_[j]);
      if (near_(i, j)) examine({Modes::kNone, j, i, 0, Trigger::distance, 0.0}, slack);
    }
  }
  if (first_.empty()) return end_ = Modes::kNone;
  // Few, and often in order already. std::stable_sort would allocate.
  const auto earlier = [](const Crossing& a, const Crossing& b) { return a.x < b.x; };
  for (auto c = first_.begin(); c != first_.end(); ++c)
    std::rotate(std::upper_bound(first_.begin(), c, *c, earlier), c, c + 1);
  end_ = first_.front().x;
  const auto later = [&](const Crossing& c) { return c.x > end_ + kTogether && !alike(c, end_); };
  first_.erase(std::remove_if(first_.begin(), first_.end(), later), first_.end());
  return end_;
}

/// What was found in the longer step may lie a little beyond this one, but if it does not the mode goes on.
double Crossings::refine(const OneStepMethod& method, double t, double h) {
  const std::vector<Crossing> sought = first_;
  if (find(method, t, h) <= 1.0) return end_;
  first_ = sought;
  return end_ = zero_near_end();
}

/// Of the function that ends the mode first.
double Crossings::zero_near_end() const {
  const int degree = static_cast<int>(looks_.size()) - 1;
  const Bernstein b = polynomial(first_.front());
  const auto value = [&](double x) {
    const Vector basis = bernstein_basis(degree, x);
    return std::inner_product(basis.begin(), basis.end(), b.begin(), first_.front().level);
  };
  double last = 1.0 - 0.01, x = 1.0, f_last = value(last), f = value(x);
  for (int i = 0; i < 6 && f != 0.0; ++i) {
    const double next = x - f * (x - last) / (f - f_last);
    if (!(std::abs(next - 1.0) <= kFarthest)) return Modes::kNone;
    last = x, f_last = f;
    x = next, f = value(x);
    if (x == last) break;
  }
  return x;
}

void Crossings::find_at_start() {
  const Mode& mode = piece_->mode();
  Index slot = 0;
  for (Index j = 0; j < mode.cols(); ++j)
    for (Index i = 0; i < mode.rows(); ++i) {
      if (mode(i, j) != 0) continue;
      const double low = start().low[slot], high = start().high[slot], jump = std::max(low + high, 0.0);
      if (low < -kSlackOfTheta * jump) first_.push_back({0.0, j, i, slot, Trigger::low, 0.0});
      if (high < -kSlackOfTheta * jump) first_.push_back({0.0, j, i, slot, Trigger::high, 0.0});
      ++slot;
    }
}

double Crossings::multiplier(const Crossing& c) const {
  const double scale = std::abs(start().low[c.slot]) + std::abs(start().high[c.slot]);
  return (c.trigger == Trigger::low ? way_.low : way_.high)[c.slot] / scale;
}

double Crossings::least_of_found(const ConstVectorRef& force) {
  way_.w = start().w;
  impose(force, way_);
  double least = std::numeric_limits<double>::infinity();
  for (const Crossing& c : first_) least = std::min(least, multiplier(c));
  return least;
}

void Crossings::keep_reached(const ConstVectorRef& force) {
  const double least = std::max(least_of_found(force), 0.0);
  const auto later = [&](const Crossing& c) { return multiplier(c) > least + kSlackOfTheta; };
  first_.erase(std::remove_if(first_.begin(), first_.end(), later), first_.end());
}

bool Crossings::contains(const ConstVectorRef& w) {
  Matrix& distances = looks_.back().distances;
  piece_->distances(w, distances);
  piece_->sizes(w, sizes_);
  const Mode& mode = piece_->mode();
  for (Index j = 0; j < mode.cols(); ++j)
    for (Index i = 0; i < mode.rows(); ++i)
      if (mode(i, j) * distances(i, j) < -kNearly * tolerance(sizes_[j])) return false;
  return true;
}

bool Crossings::of(Index unit, Trigger trigger) const {
  return std::any_of(first_.begin(), first_.end(),
                     [&](const Crossing& c) { return c.unit == unit && c.trigger == trigger; });
}

bool Crossings::of(Index unit, Trigger trigger, Index surface) const {
  return std::any_of(first_.begin(), first_.end(), [&](const Crossing& c) {
    return c.unit == unit && c.trigger == trigger && c.surface == surface;
  });
}

}  // namespace grokflow
