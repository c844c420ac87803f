// Where a function changes its sign in an interval, however often.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace grokflow {

/// Calls found(a, b, f(a), f(b)) for parts of an interval in which f crosses zero: f(a) and f(b) are of
/// opposite sign, or f(b) alone is zero. The interval is cut into 8 parts, and where f bends these into halves,
/// until in each pair of them the parabola, were it twice as curved, had no zero that the signs do not show, or
/// bends by less than the noise of f.
class CrossingSearch {
 public:
  template <class Function, class Found>
  void operator()(Function&& f, double noise, double a, double b, double fa, double fb, Found&& found) {
    const auto at = [&](double x) {  // at unequal distances: no period divides them
      return x == 1.0 ? b : a + x * (1.0 + 0.13 * (1.0 - x)) * (b - a);
    };
    count_ = 0;
    add({0.0, fa});
    for (int i = 1; i < kParts; ++i) {
      const double x = static_cast<double>(i) / kParts;
      add({x, f(at(x))});
    }
    add({1.0, fb});
    for (bool bends = true; bends;) bends = halve(f, at, noise);
    for (std::size_t i = 1; i < count_; ++i) {
      const Sample &left = samples_[i - 1], &right = samples_[i];
      if ((left.f < 0.0 && right.f >= 0.0) || (left.f > 0.0 && right.f <= 0.0))
        found(at(left.x), at(right.x), left.f, right.f);
    }
  }

 private:
  struct Sample {
    double x, f;
  };

  static constexpr int kParts = 8;
  static constexpr std::size_t kMost = 1024;  // samples
  static constexpr double kShortest = 1e-7;   // part of the interval

  void add(Sample sample) { samples_[count_++] = sample; }

  /// Halves the parts beside which f bends; false if there are none, or no room for more.
  template <class Function, class Point>
  bool halve(Function&& f, Point&& at, double noise) {
    const Sample* coarse = samples_;
    samples_ = memory_[samples_ == memory_[0].data()].data();
    const std::size_t count = std::exchange(count_, 0);
    bool bent = false, room = true;  // at the sample before
    std::size_t added = 0;
    for (std::size_t i = 0; i + 1 < count; ++i) {
      add(coarse[i]);
      const bool bends = i + 2 < count && bends_over(coarse[i], coarse[i + 1], coarse[i + 2], noise);
      const double x = 0.5 * (coarse[i].x + coarse[i + 1].x);
      room = count + added < kMost;
      if ((bent || bends) && room && x - coarse[i].x > kShortest) {
        add({x, f(at(x))});
        ++added;
      }
      bent = bends;
    }
    add(coarse[count - 1]);
    return added > 0 && room;
  }

  /// Of three samples in a row.
  static bool bends_over(const Sample& left, const Sample& middle, const Sample& right, double noise) {
    const double whole = right.x - left.x, part = (middle.x - left.x) / whole;
    // By how much a parabola leaves the straight line in its middle.
    const double bend = (middle.f - left.f - part * (right.f - left.f)) / (4.0 * part * (1.0 - part));
    const double room = (left.f > 0.0) != (right.f > 0.0)
                            ? 0.125 * std::abs(right.f - left.f)
                            : 0.5 * std::min({std::abs(left.f), std::abs(middle.f), std::abs(right.f)});
    return std::abs(bend) > std::max(room, noise);
  }

  std::array<std::array<Sample, kMost>, 2> memory_;
  Sample* samples_ = memory_[0].data();
  std::size_t count_ = 0;
};

}  // namespace grokflow
