#include "grokflow/block_map.hpp"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

#include "mapped_piece.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

/// The transpose of a matrix that is stored row by row.
Eigen::Map<const Matrix> transposed(const ConstVectorRef& w, Index begin, Index rows, Index cols) {
  return {w.data() + begin, cols, rows};
}
Eigen::Map<Matrix> transposed(VectorRef& w, Index begin, Index rows, Index cols) {
  return {w.data() + begin, cols, rows};
}

}  // namespace

BlockMap::BlockMap(const std::vector<Block>& blocks, Vector w, const std::vector<Choice>& choices)
    : w_(std::move(w)) {
  for (const Block& block : blocks) {
    const auto named = [&](const Choice& choice) { return choice.block == block.name; };
    const auto choice = std::find_if(choices.begin(), choices.end(), named);
    if (choice == choices.end() || choice->kind == fixed) continue;
    parts_.push_back({block, choice->kind, choice->rank, num_inner_});
    if (choice->kind == trained) {
      num_inner_ += block.size();
      continue;
    }
    if (block.shape.size() != 2 || choice->rank < 1)
      throw std::invalid_argument("'" + block.name + "' is no matrix, or its rank is below 1");
    affine_ = false;
    num_inner_ += (block.shape[0] + block.shape[1]) * choice->rank;
  }
  for (const Choice& choice : choices)
    if (std::none_of(blocks.begin(), blocks.end(), [&](const Block& b) { return b.name == choice.block; }))
      throw std::invalid_argument("there is no block '" + choice.block + "'");
  if (parts_.empty()) throw std::invalid_argument("no block is trained");
}

std::vector<Block> BlockMap::blocks() const {
  std::vector<Block> out;
  for (const Part& part : parts_) {
    if (part.kind == trained) {
      out.push_back({part.outer.name, part.begin, part.outer.shape});
      continue;
    }
    const Index rows = part.outer.shape[0], cols = part.outer.shape[1];
    out.push_back({part.outer.name + ".A", part.begin, {rows, part.rank}});
    out.push_back({part.outer.name + ".B", part.begin + rows * part.rank, {cols, part.rank}});
  }
  return out;
}

void BlockMap::value(const ConstVectorRef& v, VectorRef w) const {
  w = w_;
  for (const Part& part : parts_) {
    const Index begin = part.outer.begin;
    if (part.kind == trained) {
      w.segment(begin, part.outer.size()) = v.segment(part.begin, part.outer.size());
      continue;
    }
    const Index rows = part.outer.shape[0], cols = part.outer.shape[1], r = part.rank;
    add_product_tn(transposed(v, part.begin + rows * r, cols, r), transposed(v, part.begin, rows, r),
                   transposed(w, begin, rows, cols));
  }
}

void BlockMap::push(const ConstVectorRef& v, const ConstVectorRef& dv, VectorRef out) const {
  out.setZero();
  for (const Part& part : parts_) {
    const Index begin = part.outer.begin;
    if (part.kind == trained) {
      out.segment(begin, part.outer.size()) = dv.segment(part.begin, part.outer.size());
      continue;
    }
    const Index rows = part.outer.shape[0], cols = part.outer.shape[1], r = part.rank;
    const Index A = part.begin, B = part.begin + rows * r;
    const auto W = transposed(out, begin, rows, cols);
    add_product_tn(transposed(dv, B, cols, r), transposed(v, A, rows, r), W);
    add_product_tn(transposed(v, B, cols, r), transposed(dv, A, rows, r), W);
  }
}

void BlockMap::pull(const ConstVectorRef& v, const ConstVectorRef& u, VectorRef out) const {
  out.setZero();
  for (const Part& part : parts_)
    if (part.kind == trained)
      out.segment(part.begin, part.outer.size()) = u.segment(part.outer.begin, part.outer.size());
  add_bend(u, v, out);  // of A B^T it is linear in v
}

void BlockMap::add_bend(const ConstVectorRef& u, const ConstVectorRef& dv, VectorRef out) const {
  for (const Part& part : parts_) {
    if (part.kind == trained) continue;
    const Index rows = part.outer.shape[0], cols = part.outer.shape[1], r = part.rank;
    const Index A = part.begin, B = part.begin + rows * r;
    const auto M = transposed(u, part.outer.begin, rows, cols);
    add_product(transposed(dv, B, cols, r), M, transposed(out, A, rows, r));
    add_product_nt(transposed(dv, A, rows, r), M, transposed(out, B, cols, r));
  }
}

bool BlockMap::trained_ranges(Index begin, Index end, std::vector<std::pair<Index, Index>>& ranges) const {
  ranges.clear();
  Index covered = 0;
  for (const Part& part : parts_) {
    if (part.kind != trained) continue;
    const Index first = std::max(begin, part.begin), last = std::min(end, part.begin + part.outer.size());
    if (first >= last) continue;
    const Index shift = part.outer.begin - part.begin;
    covered += last - first;
    if (!ranges.empty() && ranges.back().second == first + shift)
      ranges.back().second = last + shift;
    else
      ranges.emplace_back(first + shift, last + shift);
  }
  return covered == end - begin;
}

std::vector<BlockMap::Stretch> BlockMap::trained_in(Index begin, Index end) const {
  std::vector<Stretch> found;
  for (const Part& part : parts_) {
    const Index first = std::max(begin, part.outer.begin),
                last = std::min(end, part.outer.begin + part.outer.size());
    if (part.kind == trained && first < last)
      found.push_back({first, part.begin + first - part.outer.begin, last - first});
  }
  return found;
}

Decay BlockMap::spread(const Decay& decay) const {
  Vector rate = Vector::Zero(num_outer());
  for (const auto& [outer, inner, count] : trained_in(0, num_outer()))
    for (Index k = 0; k < count; ++k) rate[outer + k] = decay.rate(inner + k);
  std::vector<std::pair<Decay::Range, double>> rates;
  for (Index j = 0; j < rate.size(); ++j) {
    if (rates.empty() || rates.back().second != rate[j]) rates.push_back({{j, j}, rate[j]});
    rates.back().first.end = j + 1;
  }
  return Decay(rates);
}

bool BlockMap::adapts(Index begin, Index end) const {
  return std::any_of(parts_.begin(), parts_.end(), [begin, end](const Part& part) {
    return part.kind == adapted && part.outer.begin < end && begin < part.outer.begin + part.outer.size();
  });
}

MappedProblem::MappedProblem(std::shared_ptr<const Problem> problem, BlockMap map)
    : PiecewiseProblem(map.num_inner(), problem->num_residuals(), problem->scale()),
      problem_(std::move(problem)),
      map_(std::move(map)) {
  if (map_.num_outer() != problem_->num_params())
    throw std::invalid_argument("the map is for " + std::to_string(map_.num_outer()) +
                                " weights; the problem has " + std::to_string(problem_->num_params()));
  if (const PiecewiseProblem* kinked = piecewise(*problem_))
    if (const auto [begin, end] = kinked->bound(); map_.adapts(begin, end))
      throw std::invalid_argument(
          "the activation of this network has a kink, and its inner weights are to be adapted: neurons "
          "stick to data points, where the factors of adapters are bound nonlinearly; train them as they "
          "are, or "
          "take activation='smooth_relu'");
  quadratic_ = is_quadratic_in({{0, num_params()}});
}

bool MappedProblem::is_quadratic_in(const std::vector<std::pair<Index, Index>>& ranges) const {
  std::vector<std::pair<Index, Index>> outer, part;
  for (const auto& [begin, end] : ranges) {
    if (!map_.trained_ranges(begin, end, part)) return false;
    outer.insert(outer.end(), part.begin(), part.end());
  }
  return problem_->is_quadratic_in(outer);
}

/// K by products takes as many gradients as there are residuals.
Cost MappedProblem::cost() const {
  Cost cost = problem_->cost();
  if (!map_.is_affine()) cost.gram = static_cast<double>(num_residuals()) * cost.gradient;
  return cost;
}

WorkspacePool<MappedProblem::Scratch>::Lease MappedProblem::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->w.resize(map_.num_outer());
    fresh->u.resize(map_.num_outer());
    return fresh;
  });
}

std::vector<Quantity> MappedProblem::quantities() const {
  auto quantities = Problem::quantities();
  for (Quantity& own : problem_->quantities()) {
    const auto same = [&](const Quantity& known) { return known.name == own.name; };
    if (std::any_of(quantities.begin(), quantities.end(), same)) continue;
    auto evaluate = [this, inner = std::move(own.evaluate)](const ConstVectorRef& v, VectorRef out) {
      auto work = scratch();
      map_.value(v, work->w);
      inner(work->w, out);
    };
    quantities.push_back({own.name, own.size, std::move(evaluate)});
  }
  return quantities;
}

void MappedProblem::residual(const ConstVectorRef& v, VectorRef out) const {
  auto work = scratch();
  map_.value(v, work->w);
  problem_->residual(work->w, out);
}

double MappedProblem::loss(const ConstVectorRef& v) const {
  auto work = scratch();
  map_.value(v, work->w);
  return problem_->loss(work->w);
}

void MappedProblem::gradient(const ConstVectorRef& v, VectorRef out) const {
  auto work = scratch();
  map_.value(v, work->w);
  problem_->gradient(work->w, work->u);
  map_.pull(v, work->u, out);
}

/// v, the problem frozen at g(v), and its gradient there if the map is curved.
class MappedProblem::At final : public Linearization {
 public:
  explicit At(const MappedProblem& problem)
      : Linearization(problem.num_params(), problem.num_residuals()), problem_(problem) {
    w_.resize(map().num_outer());
    slope_.resize(map().num_outer());
  }

  void refill(const ConstVectorRef& v) {
    v_ = v;
    map().value(v, w_);
    const bool made = !lin_;
    problem_.problem_->linearize(w_, lin_);
    if (made) lin_->checkpoint = [this] { check(); };
    if (!map().is_affine()) problem_.problem_->gradient(w_, slope_);
  }

  void jvp(const ConstVectorRef& dv, VectorRef out) const override {
    auto work = problem_.scratch();
    map().push(v_, dv, work->u);
    lin_->jvp(work->u, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override {
    auto work = problem_.scratch();
    lin_->vjp(q, work->u);
    map().pull(v_, work->u, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    auto work = problem_.scratch();
    auto& ranges = work->ranges;
    if (!map().trained_ranges(begin, end, ranges)) {
      Linearization::gram(begin, end, K);
      return mirror_lower(K);
    }
    if (ranges.empty()) {
      K.setZero();
      return;
    }
    lin_->gram(ranges[0].first, ranges[0].second, K);
    if (ranges.size() == 1) return;
    auto part = work->part.matrix(K.rows(), K.cols());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      lin_->gram(ranges[i].first, ranges[i].second, part);
      K += part;
    }
  }

  const Vector* scaled_residual() const override { return lin_->scaled_residual(); }

  void hvp(const ConstVectorRef& dv, VectorRef out) const override {
    auto work = problem_.scratch();
    map().push(v_, dv, work->w);
    lin_->hvp(work->w, work->u);
    map().pull(v_, work->u, out);
    if (!map().is_affine()) map().add_bend(slope_, dv, out);
  }

 private:
  const BlockMap& map() const { return problem_.map_; }

  const MappedProblem& problem_;
  std::unique_ptr<Linearization> lin_;
  Vector v_, w_, slope_;
};

void MappedProblem::linearize(const ConstVectorRef& v, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(v);
}

bool MappedProblem::has_kinks() const {
  const PiecewiseProblem* kinked = piecewise(*problem_);
  if (!kinked) return false;
  const auto [begin, end] = kinked->bound();
  return !map_.trained_in(begin, end).empty();
}

std::pair<Index, Index> MappedProblem::bound() const {
  const auto [begin, end] = piecewise(*problem_)->bound();
  const auto bound = map_.trained_in(begin, end);
  return {bound.front().inner, bound.back().inner + bound.back().size};
}

std::shared_ptr<Piece> MappedProblem::make_piece(const Decay& decay, const Frozen& frozen) const {
  const Index size = map_.num_outer();
  Frozen all{Vector(size), std::vector<char>(size, true)};  // adapted parameters too: no surface bounds them
  map_.value(frozen.w.size() > 0 ? frozen.w : Vector::Zero(num_params()), all.w);
  for (const auto& [outer, inner, count] : map_.trained_in(0, size))
    for (Index k = 0; k < count; ++k) all.holds[outer + k] = frozen.at(inner + k);
  const PiecewiseProblem& kinked = *piecewise(*problem_);
  const auto [begin, end] = kinked.bound();
  return std::make_shared<InMode>(*this, map_.trained_in(begin, end),
                                  kinked.make_piece(map_.spread(decay), all));
}

}  // namespace grokflow
