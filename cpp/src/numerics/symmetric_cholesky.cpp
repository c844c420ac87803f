#include "numerics/symmetric_cholesky.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "numerics/parallel.hpp"

namespace grokflow {
namespace {

constexpr Index kWhole = 256;  // real: up to this size there is nothing to share

template <class Scalar>
constexpr Index kBlock = std::is_same_v<Scalar, double> ? 128 : 32;

/// Whether the block could be factored.
bool factor_block(MatrixRef block) { return Eigen::LLT<MatrixRef>(block).info() == Eigen::Success; }

bool factor_block(Eigen::Ref<Eigen::MatrixXcd> block) {
  for (Index k = 0; k < block.rows(); ++k) {
    const Index rest = block.rows() - k - 1;
    const Complex pivot = std::sqrt(block(k, k));
    if (!std::isfinite(std::abs(pivot)) || pivot == 0.0) return false;
    block(k, k) = pivot;
    block.col(k).tail(rest) *= 1.0 / pivot;
    for (Index j = k + 1; j < block.rows(); ++j)
      block.col(j).tail(block.rows() - j) -= block(j, k) * block.col(k).tail(block.rows() - j);
  }
  return true;
}

/// A <- A L^-T
template <class Lower, class Rows>
void divide(const Lower& L, Rows&& A) {
  L.transpose().template triangularView<Eigen::Upper>().template solveInPlace<Eigen::OnTheRight>(A);
}

}  // namespace

void divide_by_transpose(const ConstMatrixRef& L, MatrixRef A) { divide(L, A); }

template <class Scalar>
SymmetricCholesky<Scalar>::SymmetricCholesky(Eigen::Ref<MatrixS> S) : L_(S) {
  compute(S);
}

/// Block column after block column is factored, and what it takes from the rest is subtracted in tiles.
template <class Scalar>
void SymmetricCholesky<Scalar>::compute(const Eigen::Ref<const MatrixS>& S) {
  if (S.data() != L_.data()) L_ = S;
  const Index n = L_.rows();
  const Index block = std::is_same_v<Scalar, double> && n <= kWhole ? n : kBlock<Scalar>;
  regular_ = true;
  for (Index begin = 0; begin < n && regular_; begin += block) {
    const Index size = std::min(block, n - begin);
    regular_ = factor_block(L_.block(begin, begin, size, size));
    if (begin + size < n && regular_) eliminate(begin, size);
  }
}

/// below <- below diagonal^-T, and what is to the right of it -= below below^T.
template <class Scalar>
void SymmetricCholesky<Scalar>::eliminate(Index begin, Index size) {
  const Index end = begin + size, rest = L_.rows() - end;
  const auto diagonal = L_.block(begin, begin, size, size);
  auto below = L_.block(end, begin, rest, size);
  static_assert(kBlock<Scalar> <= parallel::kTileCols, "each tile spans the columns");
  for_tiles(rest, size, size, [&](const Tile& t) { divide(diagonal, below.middleRows(t.row, t.rows)); });
  for_lower_tiles(rest, size, parallel::kTriangle, [&](const Tile& t) {
    auto out = L_.block(end + t.row, end + t.col, t.rows, t.cols);
    const auto rows = below.middleRows(t.row, t.rows), cols = below.middleRows(t.col, t.cols);
    if (t.row == t.col)
      out.template triangularView<Eigen::Lower>() -= rows * cols.transpose();
    else
      out.noalias() -= rows * cols.transpose();
  });
}

template <class Scalar>
void SymmetricCholesky<Scalar>::solve(Eigen::Ref<VectorS> v) const {
  L_.template triangularView<Eigen::Lower>().solveInPlace(v);
  L_.transpose().template triangularView<Eigen::Upper>().solveInPlace(v);
}

template class SymmetricCholesky<double>;
template class SymmetricCholesky<Complex>;

}  // namespace grokflow
