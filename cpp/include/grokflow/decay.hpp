// Weight decay, uniform or by parameter block: D = diag(lam_b).
//
// Where w keeps to surfaces, D is felt along them: as Pi D Pi, with the orthogonal projector Pi. If parameters that
// a surface ties together have different rates this is not diagonal. It is D all the same but for some orthonormal
// vectors e that have rates of their own, <e, D e>: what is orthogonal to these, along the surfaces, keeps to
// parameters of one rate each. Products are therefore those of vectors Pi v.
#pragma once

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// Parameters that share one rate are a group; the kernel K = J J^T splits into one K_g per group.
class Decay {
 public:
  struct Range {
    Index begin, end;
  };
  struct Group {
    double rate;
    std::vector<Range> ranges;
  };
  /// A unit vector of the parameters in these ranges, each inside one of a group.
  struct Slant {
    std::vector<Range> where;
    Vector e;
  };
  using Slants = std::vector<Slant>;

  /// The same rate for all d parameters.
  Decay(Index num_params, double rate);
  /// One rate for each consecutive range; the ranges tile 0..d in order.
  explicit Decay(const std::vector<std::pair<Range, double>>& rates);

  Index num_params() const;
  /// Throws std::invalid_argument unless there is a rate for each of `num_params`.
  void require_size(Index num_params) const;

  const std::vector<Group>& groups() const { return groups_; }
  double max_rate() const;

  /// The rate of this parameter.
  double rate(Index param) const;
  /// <e, D e>
  double rate(const Slant& slant) const;

  /// Becomes `factor` times `other`, which has the same groups.
  void assign(double factor, const Decay& other);

  /// From now on D is felt on surfaces where these vectors, which may change, have rates of their own.
  void keep_to(std::shared_ptr<const Slants> slants) { slants_ = std::move(slants); }
  const Slants& slants() const;
  /// From now on what decays has this constant slope beside D w, times the same factor; it may change. An l1 norm
  /// has one on each side of its kinks.
  void tilt(std::shared_ptr<const Vector> slope) { tilt_ = std::move(slope); }

  /// A += D
  void add_to(MatrixRef A) const;

  /// out += factor * D v
  template <class V, class Out>
  void add_product(double factor, const V& v, Out&& out) const {
    for (const Group& group : groups_)
      for (const Range& range : group.ranges)
        out.segment(range.begin, range.end - range.begin) +=
            (factor * group.rate) * v.segment(range.begin, range.end - range.begin);
    for (const Slant& slant : slants()) {
      const auto part = factor * along(slant, v);
      const double its_rate = rate(slant);
      for_entries(slant, [&](Index i, double e, double rate) { out[i] += part * ((its_rate - rate) * e); });
    }
  }

  /// out += factor * (D w + the constant slope)
  template <class V, class Out>
  void add_gradient(double factor, const V& w, Out&& out) const {
    add_product(factor, w, out);
    if (tilt_) out += (factor * factor_) * *tilt_;
  }

  /// v <- (I + z D)^-1 v
  template <class Scalar, class V>
  void divide(Scalar z, V&& v) const {
    scale(v, [z](double rate) { return Scalar(1) / (Scalar(1) + z * rate); });
  }

  /// v <- (I + z D)^-1/2 v
  template <class Scalar, class V>
  void divide_by_root(Scalar z, V&& v) const {
    scale(v, [z](double rate) { return Scalar(1) / std::sqrt(Scalar(1) + z * rate); });
  }

 private:
  /// For each entry of e: work(its parameter, its value, the rate of the parameter).
  template <class Work>
  void for_entries(const Slant& slant, Work&& work) const {
    Index k = 0;
    for (const Range& range : slant.where) {
      const double rate = this->rate(range.begin);
      for (Index i = range.begin; i < range.end; ++i) work(i, slant.e[k++], rate);
    }
  }

  /// <e, v>
  template <class V>
  auto along(const Slant& slant, const V& v) const {
    typename std::decay_t<V>::Scalar sum(0.0);
    for_entries(slant, [&](Index i, double e, double) { sum += e * v[i]; });
    return sum;
  }

  template <class V, class Factor>
  void scale(V&& v, Factor&& factor) const {
    for (const Slant& slant : slants()) {
      const auto part = along(slant, v), its_factor = part * factor(rate(slant));
      for_entries(slant,
                  [&](Index i, double e, double rate) { v[i] += e * (its_factor / factor(rate) - part); });
    }
    for (const Group& group : groups_)
      for (const Range& range : group.ranges)
        v.segment(range.begin, range.end - range.begin) *= factor(group.rate);
  }

  std::vector<Group> groups_;
  double factor_ = 1.0;
  std::shared_ptr<const Slants> slants_;
  std::shared_ptr<const Vector> tilt_;
};

}  // namespace grokflow
