#include "piecewise/crossings.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "numerics/shifted_factor.hpp"

namespace grokflow {
namespace {

constexpr double kSlack = 0.01;         // of the tolerance: an excursion over a surface that is not seen
constexpr double kSlackOfTheta = 1e-8;  // the same for multipliers
constexpr double kTogether = 1e-12;     // fractions of a step that are one instant
constexpr double kShortest = 1e-10;     // fraction of a step for a mode that ends at once
constexpr double kFarthest = 0.05;      // correction of the length of a step that was cut short

}  // namespace

Crossings::Crossings(std::shared_ptr<Piece> piece, Modes::Forces forces, Tolerance tolerance)
    : signs(Vector::Ones(piece->num_units())),
      piece_(std::move(piece)),
      forces_(std::move(forces)),
      rtol_(tolerance.rtol),
      atol_(tolerance.atol.minCoeff()),
      looks_(1),
      state_(piece_->num_params()),
      residual_(piece_->num_residuals()),
      force_(piece_->num_residuals()),
      sizes_(piece_->num_units()) {}

const Look& Crossings::begin(const ConstVectorRef& w) {
  look(w, looks_[0]);
  piece_->sizes(w, sizes_);
  return looks_[0];
}

void Crossings::look(const ConstVectorRef& w, Look& out) {
  out.distances.resize(piece_->num_surfaces(), piece_->num_units());
  piece_->look(w, out.distances, residual_);
  forces_(w, residual_, force_);
  const Index sliding = piece_->num_sliding();
  out.gains.resize(piece_->num_units());
  piece_->gains(w, out.gains);
  out.low.resize(sliding);
  out.high.resize(sliding);
  if (sliding > 0) piece_->multipliers(signs, force_, out.low, out.high);
}

void Crossings::look_along(const OneStepMethod& method) {
  const std::vector<double>& nodes = method.nodes();
  const Index degree = static_cast<Index>(nodes.size());
  if (to_bernstein_.size() == 0) {
    Matrix basis(degree + 1, degree + 1);
    basis.row(0) = bernstein_basis(degree, 0.0);
    for (Index l = 0; l < degree; ++l) basis.row(l + 1) = bernstein_basis(degree, nodes[l]);
    to_bernstein_ = inverse(basis);
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
  if (c.x > 1.0) return;
  c.level = b[0] > slack ? 0.0 : slack;
  if (c.level == 0.0) c.x = first_zero(b, degree);
  c.x = std::max(c.x, kShortest);
  first_.push_back(c);
}

double Crossings::slack(Index unit) const { return kSlack * (atol_ + rtol_ * sizes_[unit]); }

double Crossings::find(const OneStepMethod& method) {
  look_along(method);
  clear();
  const Mode& mode = piece_->mode();
  const double amplification =
      to_bernstein_.cwiseAbs().rowwise().sum().maxCoeff();  // of values to coefficients
  Index slot = 0;
  for (Index j = 0; j < mode.cols(); ++j) {
    if ((mode.col(j).array() == 0).any()) examine({2.0, j, 0, 0, Trigger::gain, 0.0}, kSlack * atol_);
    for (Index i = 0; i < mode.rows(); ++i) {
      if (mode(i, j) == 0) {
        const double small = kSlackOfTheta * (start().low[slot] + start().high[slot]);
        examine({2.0, j, i, slot, Trigger::low, 0.0}, small);
        examine({2.0, j, i, slot, Trigger::high, 0.0}, small);
        ++slot;
        continue;
      }
      // Far from a surface, compared with how far it moves, w does not reach it.
      const double side = mode(i, j);
      double least = side * start().distances(i, j), most = least;
      for (std::size_t l = 1; l < looks_.size(); ++l) {
        const double distance = side * looks_[l].distances(i, j);
        least = std::min(least, distance), most = std::max(most, distance);
      }
      const bool far = least > amplification * (most - least);
      if (!far) examine({2.0, j, i, 0, Trigger::distance, 0.0}, slack(j));
    }
  }
  if (first_.empty()) return 2.0;
  std::stable_sort(first_.begin(), first_.end(),
                   [](const Crossing& a, const Crossing& b) { return a.x < b.x; });
  const auto later = [&](const Crossing& c) { return c.x > first_.front().x + kTogether; };
  first_.erase(std::find_if(first_.begin(), first_.end(), later), first_.end());
  return first_.front().x;
}

double Crossings::refine(const OneStepMethod& method) {
  look_along(method);
  const int degree = static_cast<int>(looks_.size()) - 1;
  const Bernstein b = polynomial(first_.front());
  const auto value = [&](double x) {
    const Vector basis = bernstein_basis(degree, x);
    return std::inner_product(basis.begin(), basis.end(), b.begin(), first_.front().level);
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

bool Crossings::contains(const ConstVectorRef& w) {
  Matrix& distances = looks_.back().distances;
  piece_->look(w, distances, residual_);
  piece_->sizes(w, sizes_);
  const Mode& mode = piece_->mode();
  for (Index j = 0; j < mode.cols(); ++j)
    for (Index i = 0; i < mode.rows(); ++i)
      if (mode(i, j) * distances(i, j) < -slack(j)) return false;
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
