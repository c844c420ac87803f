// S = L L^T, real or complex symmetric, without conjugation and without pivoting.
#pragma once

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "numerics/parallel.hpp"

namespace grokflow {

/// Eigen's in-place LLT with two additions: large matrices are factored by several threads, and S may be
/// complex symmetric, at half the price of an LU.
///
/// Block column after block column is factored, and what it takes from the rest is subtracted in tiles. A
/// real S must be positive definite. The complex case is stable if some multiple of S or of its conjugate has
/// a positive definite real and imaginary part, as a kernel plus a complex shift has: the growth factor of
/// elimination is then at most 2 (Higham 1998; Drury 2013).
template <class Scalar>
class SymmetricCholesky {
  using MatrixS = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  using VectorS = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  static constexpr bool real = std::is_same_v<Scalar, double>;

 public:
  /// Factors the lower triangle of S in the memory of S, which must outlive this object.
  explicit SymmetricCholesky(Eigen::Ref<MatrixS> S) : L_(S) { compute(S); }

  /// Factors another matrix of that size in the same memory, where it may lie already.
  void compute(const Eigen::Ref<const MatrixS>& S) {
    if (S.data() != L_.data()) L_ = S;
    const Index n = L_.rows(), block = real && n <= kWhole ? n : kBlock;
    regular_ = true;
    for (Index begin = 0; begin < n && regular_; begin += block) {
      const Index size = std::min(block, n - begin), rest = n - begin - size;
      auto diagonal = L_.block(begin, begin, size, size);
      regular_ = factor_block(diagonal);
      if (rest > 0 && regular_) eliminate(diagonal, L_.block(begin + size, begin, rest, size), begin + size);
    }
  }

  Eigen::ComputationInfo info() const { return regular_ ? Eigen::Success : Eigen::NumericalIssue; }

  /// v <- S^-1 v
  void solveInPlace(Eigen::Ref<VectorS> v) const {
    L_.template triangularView<Eigen::Lower>().solveInPlace(v);
    L_.transpose().template triangularView<Eigen::Upper>().solveInPlace(v);
  }

 private:
  static constexpr Index kBlock = real ? 128 : 32;
  static constexpr Index kWhole = 256;  // real: up to this size there is nothing to share

  /// below <- below diagonal^-T, and what is to the right of it -= below below^T.
  template <class Diagonal, class Below>
  void eliminate(const Diagonal& diagonal, Below below, Index end) {
    const Index rest = below.rows(), size = below.cols();
    static_assert(kBlock <= parallel::kTileCols, "each tile spans the columns");
    for_tiles(rest, size, size, [&](const Tile& t) {
      auto rows = below.middleRows(t.row, t.rows);
      diagonal.transpose().template triangularView<Eigen::Upper>().template solveInPlace<Eigen::OnTheRight>(
          rows);
    });
    for_lower_tiles(rest, size, parallel::kTriangle, [&](const Tile& t) {
      auto out = L_.block(end + t.row, end + t.col, t.rows, t.cols);
      const auto rows = below.middleRows(t.row, t.rows), cols = below.middleRows(t.col, t.cols);
      if (t.row == t.col)
        out.template triangularView<Eigen::Lower>() -= rows * cols.transpose();
      else
        out.noalias() -= rows * cols.transpose();
    });
  }

  /// Whether the block could be factored.
  template <class Block>
  static bool factor_block(Block& block) {
    if constexpr (real) {
      return Eigen::LLT<Eigen::Ref<MatrixS>>(block).info() == Eigen::Success;
    } else {
      for (Index k = 0; k < block.rows(); ++k) {
        const Index rest = block.rows() - k - 1;
        const Scalar pivot = std::sqrt(block(k, k));
        if (!std::isfinite(std::abs(pivot)) || pivot == Scalar(0)) return false;
        block(k, k) = pivot;
        block.col(k).tail(rest) *= 1.0 / pivot;
        for (Index j = k + 1; j < block.rows(); ++j)
          block.col(j).tail(block.rows() - j) -= block(j, k) * block.col(k).tail(block.rows() - j);
      }
      return true;
    }
  }

  Eigen::Ref<MatrixS> L_;
  bool regular_ = true;
};

}  // namespace grokflow
