#include "piecewise/kinks.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "numerics/orthogonal.hpp"

namespace grokflow {
namespace {

constexpr double kZero = 1e-11;  // of a product, relative to the factors

enum class Bound : signed char { low = -1, none = 0, high = 1 };

/// min ||b - A theta||, 0 <= theta <= 1, from the active set `bounds` on. False if the active sets do not
/// come to an end, which round-off alone can cause.
class BoundedLeastSquares {
 public:
  BoundedLeastSquares(const Matrix& A, std::vector<Bound>& bounds)
      : A_(A), bounds_(bounds), theta_(A.cols()) {
    for (Index i = 0; i < A.cols(); ++i)
      theta_[i] = bounds_[i] == Bound::none ? 0.5 : bounds_[i] == Bound::high ? 1.0 : 0.0;
  }

  bool solve(const Vector& b, Vector& residual) {
    const Index k = A_.cols();
    std::vector<char> barred(k, 0);  // freed in vain since the last progress
    Index freed = -1;
    for (Index round = 0; round < 20 * k + 20; ++round) {
      while (!step(b)) {
        if (freed >= 0 && bounds_[freed] != Bound::none) barred[freed] = 1;
      }
      if (freed >= 0 && !barred[freed]) std::fill(barred.begin(), barred.end(), 0);
      residual = b - A_ * theta_;
      freed = -1;
      double best = 0.0;
      for (Index i = 0; i < k; ++i) {
        if (bounds_[i] == Bound::none || barred[i]) continue;
        const double size = A_.col(i).norm();
        const double gain = (bounds_[i] == Bound::low ? 1.0 : -1.0) * A_.col(i).dot(residual);
        if (gain <= kZero * size * b.norm() || gain <= best * size) continue;
        best = gain / size;
        freed = i;
      }
      if (freed < 0) return true;
      bounds_[freed] = Bound::none;
    }
    return false;
  }

  /// A free variable that is 0 is as well at its bound, unless `lean` would take it away from there.
  void settle(const Vector& lean) {
    for (Index i = 0; i < A_.cols(); ++i)
      if (bounds_[i] == Bound::none && theta_[i] <= kZero && !(lean.size() > 0 && A_.col(i).dot(lean) > 0.0))
        bounds_[i] = Bound::low;
  }

 private:
  /// The part of the way that stays between the bounds.
  static double way_inside(double from, double to) {
    const double end = std::clamp(to, 0.0, 1.0);
    return end == to ? 1.0 : (end - from) / (to - from);
  }

  /// To the minimum over the free variables, or as far as the bounds permit. Whether it was reached.
  bool step(const Vector& b) {
    free_.clear();
    for (Index i = 0; i < A_.cols(); ++i)
      if (bounds_[i] == Bound::none) free_.push_back(i);
    if (free_.empty()) return true;
    Matrix F(A_.rows(), free_.size());
    Vector rest = b - A_ * theta_;
    for (std::size_t f = 0; f < free_.size(); ++f) {
      F.col(f) = A_.col(free_[f]);
      rest += theta_[free_[f]] * F.col(f);
    }
    const Vector target = least_squares(F, rest);
    double length = 1.0;
    for (std::size_t f = 0; f < free_.size(); ++f)
      length = std::min(length, way_inside(theta_[free_[f]], target[f]));
    bool met = false;
    for (std::size_t f = 0; f < free_.size(); ++f) {
      double& theta = theta_[free_[f]];
      const double from = std::exchange(theta, theta + length * (target[f] - theta));
      if (length == 1.0 || way_inside(from, target[f]) > length) continue;
      const bool low = target[f] < 0.0;
      theta = low ? 0.0 : 1.0;
      bounds_[free_[f]] = low ? Bound::low : Bound::high;
      met = true;
    }
    return !met;
  }

  const Matrix& A_;
  std::vector<Bound>& bounds_;
  Vector theta_;
  std::vector<Index> free_;
};

/// The velocity before the event, along the normals: the field on the old sides, projected on the surfaces
/// slid on.
Vector incoming(const Kinks& kinks, const std::vector<Touch>& touches) {
  Vector velocity = kinks.field;
  std::vector<Index> slid;
  for (std::size_t i = 0; i < touches.size(); ++i) {
    if (touches[i].before == Side::on) velocity -= kinks.jumps[i] * kinks.normals.col(i);
    if (touches[i].before == Side::slide) slid.push_back(i);
  }
  if (slid.empty()) return velocity;
  Matrix normals(kinks.normals.rows(), slid.size());
  for (std::size_t f = 0; f < slid.size(); ++f) normals.col(f) = kinks.normals.col(slid[f]);
  return velocity - normals * least_squares(normals, velocity);
}

int sign(double value, double size) { return std::abs(value) <= kZero * size ? 0 : value > 0.0 ? 1 : -1; }

}  // namespace

Resolution resolve_kinks(const Kinks& kinks, const std::vector<Touch>& touches, bool moving) {
  const Index k = static_cast<Index>(touches.size());
  Resolution found;
  found.sides.assign(k, Side::off);
  found.split.assign(k, 0);
  double size = kinks.field.norm();
  for (Index i = 0; i < k; ++i) size = std::max(size, std::abs(kinks.jumps[i]) * kinks.normals.col(i).norm());
  if (!std::isfinite(size)) return found;

  // Convex kinks may be slid on; the others are crossed.
  std::vector<Index> convex, crossed;
  const Vector came = moving ? incoming(kinks, touches) : Vector::Zero(kinks.field.size());
  for (Index i = 0; i < k; ++i) {
    const double reach = kinks.normals.col(i).norm();
    if (touches[i].forced) {
      found.sides[i] = touches[i].towards;
    } else if (kinks.jumps[i] * reach > kZero * size) {
      convex.push_back(i);
    } else {
      crossed.push_back(i);
      if (sign(kinks.normals.col(i).dot(came), reach * size) > 0) found.sides[i] = Side::on;
    }
  }
  Matrix A(kinks.normals.rows(), convex.size());
  std::vector<Bound> bounds;
  for (std::size_t f = 0; f < convex.size(); ++f) {
    A.col(f) = kinks.jumps[convex[f]] * kinks.normals.col(convex[f]);
    bounds.push_back(static_cast<Bound>(touches[convex[f]].before));
  }

  Vector b(kinks.field.size()), velocity(kinks.field.size());
  for (Index round = 0; round <= 2 * k + 10; ++round) {
    b = kinks.field;
    for (Index i = 0; i < k; ++i) {
      const bool fixed = touches[i].forced || std::find(crossed.begin(), crossed.end(), i) != crossed.end();
      if (fixed && found.sides[i] == Side::on) b -= kinks.jumps[i] * kinks.normals.col(i);
    }
    velocity = b;
    if (!convex.empty()) {
      // A neuron that the field `off` does not move (the last data point that it saw has pushed it off) is
      // dead: it does not slide, or it would come to life where the jump changes its sign. Of the limit of small decay
      // that is true if decay does not hold it there.
      BoundedLeastSquares least(A, bounds);
      if (!least.solve(b, velocity)) return found;
      least.settle(kinks.lean);
    }
    bool changed = false;
    for (const Index i : crossed) {
      const int goes = sign(kinks.normals.col(i).dot(velocity), kinks.normals.col(i).norm() * size);
      const Side side = goes > 0 ? Side::on : goes < 0 ? Side::off : found.sides[i];
      changed = changed || side != found.sides[i];
      found.sides[i] = side;
    }
    if (!changed) {
      found.found = true;
      break;
    }
  }
  for (std::size_t f = 0; f < convex.size(); ++f) found.sides[convex[f]] = static_cast<Side>(bounds[f]);
  found.at_rest = velocity.norm() <= kZero * size;

  for (const Index i : crossed) {
    const double reach = kinks.normals.col(i).norm();
    if (sign(kinks.normals.col(i).dot(came), reach * size) != 0) continue;
    const double jump = kinks.jumps[i] * reach * reach, rate = kinks.normals.col(i).dot(velocity);
    const double off = found.sides[i] == Side::on ? rate + jump : rate;
    // Nor if one side keeps it where it is, as a dead neuron is kept, and the other leads away.
    found.split[i] =
        sign(jump, reach * size) < 0 && sign(off, reach * size) <= 0 && sign(off - jump, reach * size) >= 0;
  }
  return found;
}

}  // namespace grokflow
