#include "grokflow/models/matrix_map.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "grokflow/workspace.hpp"
#include "numerics/products.hpp"

namespace grokflow {
namespace {

using Factor = Eigen::Map<const Matrix>;  ///< the transpose of a block, which is stored row by row

Factor transposed(const ConstVectorRef& w, const Block& block) {
  return {w.data() + block.begin, block.shape[1], block.shape[0]};
}
Eigen::Map<Matrix> transposed(VectorRef& w, const Block& block) {
  return {w.data() + block.begin, block.shape[1], block.shape[0]};
}

class Chain final : public MatrixMap {
 public:
  explicit Chain(std::vector<Index> sizes) : sizes_(std::move(sizes)) {
    if (sizes_.size() < 3) throw std::invalid_argument("a chain of matrices needs at least two factors");
    Index begin = 0;
    for (std::size_t l = 1; l < sizes_.size(); ++l) {
      blocks_.push_back({"A" + std::to_string(l), begin, {sizes_[l], sizes_[l - 1]}});
      begin += sizes_[l] * sizes_[l - 1];
    }
  }

  bool is_chain() const override { return true; }
  Index rows() const override { return sizes_.back(); }
  Index cols() const override { return sizes_.front(); }
  std::vector<Block> blocks() const override { return blocks_; }
  std::unique_ptr<At> make() const override { return std::make_unique<Here>(*this); }

 private:
  /// With l counted from 0: before[l] = A_l ... A_1 (n_l x M), after[l] = A_L ... A_{l+1} (N x n_l).
  class Here final : public At {
   public:
    explicit Here(const Chain& chain)
        : chain_(chain), before_(L() + 1), after_(L() + 1), before_v_(L() + 1), after_v_(L() + 1) {
      for (Index l = 0; l <= L(); ++l)
        for (auto* there : {&before_, &before_v_}) (*there)[l].setIdentity(size(l), size(0));
      for (Index l = 0; l <= L(); ++l)
        for (auto* there : {&after_, &after_v_}) (*there)[l].setIdentity(size(L()), size(l));
      before_v_[0].setZero();
      after_v_[L()].setZero();
      left_.resize(L());
      right_.resize(L());
    }

    void refill(const ConstVectorRef& w) override {
      if (w_.size() == w.size() && w_ == w) return;
      w_ = w;
      for (Index l = 0; l < L(); ++l) multiply_tn(A(w_, l), before_[l], before_[l + 1]);
      for (Index l = L(); l-- > 0;) multiply_nt(after_[l + 1], A(w_, l), after_[l]);
    }

    const Matrix& value() const override { return before_[L()]; }

    void push(const ConstVectorRef& v, Matrix& out) override {
      push_before(v);
      out = before_v_[L()];
    }

    void pull(const Matrix& M, VectorRef out) override {
      out.setZero();
      for (Index l = 0; l < L(); ++l) add_pull(M, l, before_[l], after_[l + 1], out);
    }

    void add_bend(const Matrix& M, const ConstVectorRef& v, VectorRef out) override {
      push_before(v);
      for (Index l = L(); l-- > 0;) {
        multiply_nt(after_v_[l + 1], A(w_, l), after_v_[l]);
        add_product_nt(after_[l + 1], A(v, l), after_v_[l]);
      }
      for (Index l = 0; l < L(); ++l) {
        add_pull(M, l, before_v_[l], after_[l + 1], out);
        add_pull(M, l, before_[l], after_v_[l + 1], out);
      }
    }

    void tabulate(Index first, Index last) override {
      first_ = first;
      last_ = last;
      for (Index l = first; l < last; ++l) {
        left_[l].resize(size(L()), size(L()));
        right_[l].resize(size(0), size(0));
        multiply_nt(after_[l + 1], after_[l + 1], left_[l]);
        multiply_tn(before_[l], before_[l], right_[l]);
      }
    }

    void spread(const Matrix& M, Matrix& out) override {
      out.setZero();
      auto product = work_.matrix(M.rows(), M.cols());
      for (Index l = first_; l < last_; ++l) {
        multiply(left_[l], M, product);
        add_product(product, right_[l], out);
      }
    }

    double spread(Index i, Index j, Index k, Index l) const override {
      double sum = 0.0;
      for (Index layer = first_; layer < last_; ++layer) sum += left_[layer](i, k) * right_[layer](l, j);
      return sum;
    }

   private:
    Index L() const { return static_cast<Index>(chain_.blocks_.size()); }
    Index size(Index l) const { return chain_.sizes_[l]; }
    Factor A(const ConstVectorRef& w, Index l) const { return transposed(w, chain_.blocks_[l]); }

    /// before_v = the derivatives of `before` along v
    void push_before(const ConstVectorRef& v) {
      for (Index l = 0; l < L(); ++l) {
        multiply_tn(A(w_, l), before_v_[l], before_v_[l + 1]);
        add_product_tn(A(v, l), before_[l], before_v_[l + 1]);
      }
    }

    /// Block l of out += after^T M before^T, both sides transposed.
    void add_pull(const Matrix& M, Index l, const Matrix& before, const Matrix& after, VectorRef& out) {
      auto product = work_.matrix(before.rows(), M.rows());
      multiply_nt(before, M, product);
      add_product(product, after, transposed(out, chain_.blocks_[l]));
    }

    const Chain& chain_;
    Vector w_;
    std::vector<Matrix> before_, after_, before_v_, after_v_, left_, right_;
    Buffer work_;
    Index first_ = 0, last_ = 0;
  };

  std::vector<Index> sizes_;
  std::vector<Block> blocks_;
};

class Difference final : public MatrixMap {
 public:
  Difference(Index size, Index positive, Index negative) : size_(size) {
    if (positive < 1 || negative < 0) throw std::invalid_argument("U needs at least one column");
    blocks_.push_back({"U", 0, {size, positive}});
    if (negative > 0) blocks_.push_back({"V", size * positive, {size, negative}});
  }

  Index rows() const override { return size_; }
  Index cols() const override { return size_; }
  std::vector<Block> blocks() const override { return blocks_; }
  std::unique_ptr<At> make() const override { return std::make_unique<Here>(*this); }

 private:
  class Here final : public At {
   public:
    explicit Here(const Difference& map) : map_(map) {
      for (Matrix* square : {&value_, &both_, &S_}) square->setZero(map.size_, map.size_);
    }

    void refill(const ConstVectorRef& w) override {
      if (w_.size() == w.size() && w_ == w) return;
      w_ = w;
      value_.setZero();
      for (Index b = 0; b < count(); ++b) add_product_tn(F(w_, b), F(w_, b), value_, sign(b));
    }

    const Matrix& value() const override { return value_; }

    void push(const ConstVectorRef& v, Matrix& out) override {
      out.setZero();
      for (Index b = 0; b < count(); ++b) {
        add_product_tn(F(v, b), F(w_, b), out, sign(b));
        add_product_tn(F(w_, b), F(v, b), out, sign(b));
      }
    }

    void pull(const Matrix& M, VectorRef out) override {
      out.setZero();
      add_bend(M, w_, out);
    }

    /// G^T M is linear in w.
    void add_bend(const Matrix& M, const ConstVectorRef& v, VectorRef out) override {
      S_ = M + M.transpose();
      for (Index b = 0; b < count(); ++b) add_product(F(v, b), S_, transposed(out, map_.blocks_[b]), sign(b));
    }

    void tabulate(Index first, Index last) override {
      both_.setZero();
      for (Index b = first; b < last; ++b) add_product_tn(F(w_, b), F(w_, b), both_);
    }

    void spread(const Matrix& M, Matrix& out) override {
      S_ = M + M.transpose();
      multiply(S_, both_, out);
      add_product(both_, S_, out);
    }

    double spread(Index i, Index j, Index k, Index l) const override {
      return (i == k ? both_(l, j) : 0.0) + (i == l ? both_(k, j) : 0.0) + (j == l ? both_(i, k) : 0.0) +
             (j == k ? both_(i, l) : 0.0);
    }

   private:
    Index count() const { return static_cast<Index>(map_.blocks_.size()); }
    static double sign(Index b) { return b == 0 ? 1.0 : -1.0; }
    Factor F(const ConstVectorRef& w, Index b) const { return transposed(w, map_.blocks_[b]); }

    const Difference& map_;
    Vector w_;
    Matrix value_, both_, S_;
  };

  Index size_;
  std::vector<Block> blocks_;
};

}  // namespace

std::unique_ptr<MatrixMap> make_chain(std::vector<Index> sizes) {
  return std::make_unique<Chain>(std::move(sizes));
}

std::unique_ptr<MatrixMap> make_difference(Index size, Index positive, Index negative) {
  return std::make_unique<Difference>(size, positive, negative);
}

}  // namespace grokflow
