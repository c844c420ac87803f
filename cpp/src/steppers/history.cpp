#include "steppers/history.hpp"

#include <algorithm>
#include <cmath>

namespace grokflow {

History::History(Index size) : pass_(size) {
  for (Vector& state : states_) state.setZero(size);
}

void History::reset(const ConstVectorRef& w, const ConstVectorRef& f, double h) {
  head_ = 0;
  count_ = 1;
  age_.fill(0.0);
  age_[1] = h;
  past(0) = w;
  past(1) = w - h * f;
}

void History::push(Vector& w, double h) {
  head_ = (head_ + kCapacity - 1) % kCapacity;
  past(0).swap(w);
  for (std::size_t i = kCapacity - 1; i > 0; --i) age_[i] = age_[i - 1] + h;
  age_[0] = 0.0;
  count_ = std::min(count_ + 1, kCapacity);
}

void History::lagrange(int points, double ahead, Weights& value, Weights& slope) const {
  value[0] = 1.0;
  slope[0] = 0.0;
  for (int i = 1; i < points; ++i) {
    double product = 1.0, sum = 0.0;
    const double own = distance(i, ahead);
    for (int j = 0; j < points; ++j) {
      if (j == i) continue;
      const double other = distance(j, ahead);
      product *= other / (other - own);
      sum += 1.0 / other;
    }
    value[static_cast<std::size_t>(i)] = product;
    slope[static_cast<std::size_t>(i)] = product * sum;
  }
}

History::Weights History::newton(int points) const {
  Weights weights{};
  const double unit = this->unit();
  for (int i = 1; i < points; ++i) {
    double product = 1.0;
    for (int j = 0; j < points; ++j)
      if (j != i) product *= (distance(j, 0.0) - distance(i, 0.0)) / unit;
    weights[static_cast<std::size_t>(i)] = 1.0 / product;
  }
  return weights;
}

void History::interpolate(int points, double ahead, VectorRef out) const {
  Weights value, slope;
  lagrange(points, ahead, value, slope);
  pass_.sum(2.0 * points, [&](Index begin, Index count) {
    const auto newest = past(0).segment(begin, count);
    auto tile = out.segment(begin, count);
    tile = newest;
    for (int i = 1; i < points; ++i)
      tile += value[static_cast<std::size_t>(i)] * (past(i).segment(begin, count) - newest);
    return 0.0;
  });
}

double History::divided_difference(int points, const ConstVectorRef& scale) const {
  const Weights weights = newton(points);
  const double sum = pass_.sum(4.0 * points, [&](Index begin, Index count) {
    const auto newest = past(0).segment(begin, count);
    Stretches::Tile tile = Stretches::Tile::Zero(count);
    for (int i = 1; i < points; ++i)
      tile += weights[static_cast<std::size_t>(i)] * (past(i).segment(begin, count) - newest);
    return tile.cwiseProduct(scale.segment(begin, count)).squaredNorm();
  });
  return std::sqrt(sum / static_cast<double>(newest().size()));
}

}  // namespace grokflow
