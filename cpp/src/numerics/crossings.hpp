// Where a function changes its sign in an interval, however often.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

namespace grokflow {

/// Calls found(a, b, f(a), f(b)) for parts of an interval in which f crosses zero: f(a) and f(b) are of
/// opposite sign, or f(b) alone is zero. The interval is cut into 8 parts, and into twice as many, up to 256,
/// until in each pair of them the parabola, were it twice as curved, had no zero that the signs do not show,
/// or bends by less than the noise of f.
class CrossingSearch {
 public:
  template <class Function, class Found>
  void operator()(Function&& f, double noise, double a, double b, double fa, double fb, Found&& found) {
    value_[0] = fa;
    value_[kMost] = fb;
    std::size_t stride = kMost;
    do {
      for (std::size_t i = stride / 2; i < kMost; i += stride) value_[i] = f(point(a, b, i));
      stride /= 2;
    } while (stride > kMost / 8 || (stride > 1 && bends(stride, noise)));
    for (std::size_t i = 0; i < kMost; i += stride) {
      const double left = value_[i], right = value_[i + stride];
      if ((left < 0.0 && right >= 0.0) || (left > 0.0 && right <= 0.0))
        found(point(a, b, i), point(a, b, i + stride), left, right);
    }
  }

 private:
  static constexpr std::size_t kMost = 256;

  /// Points at unequal distances: no period divides them.
  static double point(double a, double b, std::size_t i) {
    if (i == kMost) return b;
    const double x = static_cast<double>(i) / kMost;
    return a + x * (1.0 + 0.13 * (1.0 - x)) * (b - a);
  }

  bool bends(std::size_t stride, double noise) const {
    for (std::size_t i = 0; i < kMost; i += 2 * stride) {
      const double left = value_[i], middle = value_[i + stride], right = value_[i + 2 * stride];
      const double room = (left > 0.0) != (right > 0.0)
                              ? 0.125 * std::abs(right - left)
                              : 0.5 * std::min({std::abs(left), std::abs(middle), std::abs(right)});
      if (std::abs(middle - 0.5 * (left + right)) > std::max(room, noise)) return true;
    }
    return false;
  }

  std::array<double, kMost + 1> value_;
};

}  // namespace grokflow
