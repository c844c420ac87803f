// S = L L^T for a complex symmetric S, without conjugation and without pivoting.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <complex>

#include "grokflow/types.hpp"

namespace grokflow {

/// The complex twin of Eigen's in-place LLT, at half the price of an LU. It is stable if some multiple of S
/// or of its conjugate has a positive definite real and imaginary part, as a kernel plus a complex shift has:
/// the growth factor of elimination is then at most 2 (Higham 1998; Drury 2013).
class SymmetricCholesky {
  using MatrixC = Eigen::MatrixXcd;

 public:
  /// Factors the lower triangle of S in the memory of S, which must outlive this object.
  explicit SymmetricCholesky(Eigen::Ref<MatrixC> S) : L_(S) { compute(S); }

  /// Factors another matrix of that size in the same memory, where it may lie already.
  void compute(const Eigen::Ref<const MatrixC>& S) {
    if (S.data() != L_.data()) L_ = S;
    const Index n = L_.rows();
    for (Index begin = 0; begin < n; begin += kBlock) {
      const Index size = std::min(kBlock, n - begin), rest = n - begin - size;
      auto diagonal = L_.block(begin, begin, size, size);
      factor_block(diagonal);
      if (rest == 0) break;
      auto below = L_.block(begin + size, begin, rest, size);
      diagonal.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(below);
      L_.bottomRightCorner(rest, rest).triangularView<Eigen::Lower>() -= below * below.transpose();
    }
  }

  Eigen::ComputationInfo info() const {
    const bool regular = L_.diagonal().allFinite() && (L_.diagonal().array() != Complex(0)).all();
    return regular ? Eigen::Success : Eigen::NumericalIssue;
  }

  /// v <- S^-1 v
  void solveInPlace(Eigen::Ref<Eigen::VectorXcd> v) const {
    L_.triangularView<Eigen::Lower>().solveInPlace(v);
    L_.transpose().triangularView<Eigen::Upper>().solveInPlace(v);
  }

 private:
  static constexpr Index kBlock = 32;

  template <class Block>
  static void factor_block(Block& block) {
    for (Index k = 0; k < block.rows(); ++k) {
      const Index rest = block.rows() - k - 1;
      const Complex pivot = std::sqrt(block(k, k));
      block(k, k) = pivot;
      block.col(k).tail(rest) *= 1.0 / pivot;
      for (Index j = k + 1; j < block.rows(); ++j)
        block.col(j).tail(block.rows() - j) -= block(j, k) * block.col(k).tail(block.rows() - j);
    }
  }

  Eigen::Ref<MatrixC> L_;
};

}  // namespace grokflow
