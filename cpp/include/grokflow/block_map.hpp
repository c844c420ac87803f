// A problem in fewer parameters: F(g(v)), where each block of w = g(v) is one of
//
//   fixed       a given array
//   trained     a block of v, as it is
//   adapted     W + A B^T, with W given (out x in) and two blocks of v, A (out x rank) and B (in x rank)
//
//   BlockMap map(problem->blocks(), w, {{"W1", BlockMap::adapted, 4}, {"b1", BlockMap::trained}});
//   auto small = std::make_shared<MappedProblem>(problem, map);
//
// With G = dg/dv: J becomes J G, and Hess F becomes G^T H G plus, for adapted blocks, the curvature of A B^T weighted
// by grad F. The kernel of trained blocks is that which the problem itself makes of them. Kinks stay known: surfaces
// are planes of what is trained of the parameters that they bound. If none is, there are none; with adapters they would
// be curved.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grokflow/piecewise.hpp"
#include "grokflow/workspace.hpp"

namespace grokflow {

class BlockMap {
 public:
  enum Kind { fixed, trained, adapted };
  struct Choice {
    std::string block;
    Kind kind = trained;
    Index rank = 0;  ///< of an adapted block
  };

  /// Blocks that no choice names are fixed at w. Throws std::invalid_argument for an unknown block, one that is no
  /// matrix but is to be adapted, or if nothing is trained.
  BlockMap(const std::vector<Block>& blocks, Vector w, const std::vector<Choice>& choices);

  Index num_outer() const { return w_.size(); }   ///< entries of w
  Index num_inner() const { return num_inner_; }  ///< entries of v
  bool is_affine() const { return affine_; }
  /// Those of v: trained ones by their names, adapted ones as NAME.A and NAME.B.
  std::vector<Block> blocks() const;

  /// w = g(v).
  void value(const ConstVectorRef& v, VectorRef w) const;
  /// out = G dv, at v.
  void push(const ConstVectorRef& v, const ConstVectorRef& dv, VectorRef out) const;
  /// out = G^T u, at v.
  void pull(const ConstVectorRef& v, const ConstVectorRef& u, VectorRef out) const;
  /// out += the derivative of G^T u along dv.
  void add_bend(const ConstVectorRef& u, const ConstVectorRef& dv, VectorRef out) const;
  /// Of begin <= i < end of v, the part that trains w_j itself, as ranges of j. False if the rest of it is not empty.
  bool trained_ranges(Index begin, Index end, std::vector<std::pair<Index, Index>>& ranges) const;
  /// What has begin <= j < end in w: the parts of it that are trained as they are, in order, and where they begin in w
  /// and in v.
  struct Stretch {
    Index outer, inner, size;
  };
  std::vector<Stretch> trained_in(Index begin, Index end) const;
  /// The rates of w: what is not trained as it is has none.
  Decay spread(const Decay& decay) const;
  /// Whether any of it is adapted.
  bool adapts(Index begin, Index end) const;

 private:
  struct Part {
    Block outer;
    Kind kind;
    Index rank, begin;  ///< where it begins in v
  };

  std::vector<Part> parts_;  // that are not fixed
  Vector w_;
  Index num_inner_ = 0;
  bool affine_ = true;
};

class MappedProblem final : public PiecewiseProblem {
 public:
  /// Throws std::invalid_argument for a map of another size, or one that adapts what kinks bound.
  MappedProblem(std::shared_ptr<const Problem> problem, BlockMap map);

  bool is_quadratic() const override { return quadratic_; }
  bool is_quadratic_in(const std::vector<std::pair<Index, Index>>& ranges) const override;
  bool has_hvp() const override { return problem_->has_hvp(); }
  bool attained() const override { return problem_->attained(); }

  void residual(const ConstVectorRef& v, VectorRef out) const override;
  double loss(const ConstVectorRef& v) const override;
  void gradient(const ConstVectorRef& v, VectorRef out) const override;
  void linearize(const ConstVectorRef& v, std::unique_ptr<Linearization>& lin) const override;
  Cost cost() const override;
  std::vector<Block> blocks() const override { return map_.blocks(); }
  /// Those of the problem at w, but norm and grad_norm.
  std::vector<Quantity> quantities() const override;

  const BlockMap& map() const { return map_; }

  bool has_kinks() const override;
  std::pair<Index, Index> bound() const override;
  std::shared_ptr<Piece> make_piece(const Decay& decay, const Frozen& frozen = {}) const override;

 private:
  class At;
  class InMode;

  struct Scratch {
    Vector w, u;
    Buffer part;
    std::vector<std::pair<Index, Index>> ranges;
  };
  WorkspacePool<Scratch>::Lease scratch() const;

  std::shared_ptr<const Problem> problem_;
  BlockMap map_;
  bool quadratic_;
  mutable WorkspacePool<Scratch> pool_;
};

}  // namespace grokflow
