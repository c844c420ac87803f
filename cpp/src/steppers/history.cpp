#include "steppers/history.hpp"

#include <algorithm>
#include <cmath>

namespace grokflow {

constexpr Index kTile = 512;  // doubles: a tile of every state fits the first-level cache

History::History(Index size) : states_(Matrix::Zero(size, kCapacity)) {}

void History::reset(const ConstVectorRef& w, const ConstVectorRef& f, double h) {
  head_ = 0;
  count_ = 1;
  age_.fill(0.0);
  age_[1] = h;
  states_.col(slot(0)) = w;
  states_.col(slot(1)) = w - h * f;
}

void History::push(const ConstVectorRef& w, double h) {
  head_ = (head_ + kCapacity - 1) % kCapacity;
  states_.col(slot(0)) = w;
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

History::Weights History::divided_difference(int points) const {
  Weights weights{};
  for (int i = 1; i < points; ++i) {
    double product = 1.0;
    for (int j = 0; j < points; ++j)
      if (j != i) product *= distance(j, 0.0) - distance(i, 0.0);
    weights[static_cast<std::size_t>(i)] = 1.0 / product;
  }
  return weights;
}

template <class Visit>
void History::for_each_tile(int points, const Weights& weights, Visit&& visit) const {
  Eigen::Matrix<double, kTile, 1> tile;
  for (Index begin = 0; begin < states_.rows(); begin += kTile) {
    const Index size = std::min(kTile, states_.rows() - begin);
    const auto newest = states_.col(slot(0)).segment(begin, size);
    tile.head(size) = weights[0] * newest;
    for (int i = 1; i < points; ++i)
      tile.head(size) +=
          weights[static_cast<std::size_t>(i)] * (states_.col(slot(i)).segment(begin, size) - newest);
    visit(begin, tile.head(size));
  }
}

void History::combine(int points, const Weights& weights, VectorRef out) const {
  for_each_tile(points, weights,
                [&](Index begin, const auto& tile) { out.segment(begin, tile.size()) = tile; });
}

double History::combined_norm(int points, const Weights& weights, const ConstVectorRef& scale) const {
  double sum = 0.0;
  for_each_tile(points, weights, [&](Index begin, const auto& tile) {
    sum += tile.cwiseProduct(scale.segment(begin, tile.size())).squaredNorm();
  });
  return std::sqrt(sum / static_cast<double>(states_.rows()));
}

}  // namespace grokflow
