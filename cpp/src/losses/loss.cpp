#include "grokflow/loss.hpp"

#include "numerics/orthogonal.hpp"

namespace grokflow {
namespace {

using Block = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

}  // namespace

Loss::Loss(Index samples, Index outputs, Index rank) : samples_(samples), outputs_(outputs), rank_(rank) {}

void Loss::apply(const ConstVectorRef& B, const ConstVectorRef& u, VectorRef x) const {
  for (Index i = 0; i < samples_; ++i) {
    const Block block(B.data() + i * outputs_ * rank_, outputs_, rank_);
    x.segment(i * outputs_, outputs_) = block.lazyProduct(u.segment(i * rank_, rank_));
  }
}

void Loss::apply_transposed(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const {
  for (Index i = 0; i < samples_; ++i) {
    const Block block(B.data() + i * outputs_ * rank_, outputs_, rank_);
    u.segment(i * rank_, rank_) = block.transpose().lazyProduct(x.segment(i * outputs_, outputs_));
  }
}

void Loss::solve(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const {
  for (Index i = 0; i < samples_; ++i) {
    const Matrix block = Block(B.data() + i * outputs_ * rank_, outputs_, rank_);
    u.segment(i * rank_, rank_) = least_squares(block, x.segment(i * outputs_, outputs_));
  }
}

void Loss::hessian(const ConstVectorRef& B, VectorRef u, VectorRef x) const {
  apply_transposed(B, x, u);
  apply(B, u, x);
}

}  // namespace grokflow
