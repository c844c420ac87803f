// Matrices W(w) that are polynomials in their factors:
//
//   chain        W = A_L ... A_1,         w = [A_1, ..., A_L], each row-major
//   difference   W = U U^T - V V^T,       w = [U, V], or U alone
//
// The derivative at w is G = dW/dw. All that a model of W needs is G v, G^T of a matrix, how that changes along v,
// and G G^T, which maps matrices to matrices of the same size by products with small ones:
//
//   chain        G^T M = [P_l^T M Q_l^T],    G G^T M = sum_l P_l P_l^T M Q_l^T Q_l,    P_l = A_L ... A_{l+1},  Q_l = A_{l-1} ... A_1
//   difference   G^T M = [S U, -S V],        G G^T M = S B + B S,                       S = M + M^T,  B = U U^T + V V^T
#pragma once

#include <memory>
#include <vector>

#include "grokflow/problem.hpp"

namespace grokflow {

class MatrixMap {
 public:
  /// W and its derivative at one point, in memory that is used again.
  class At {
   public:
    virtual ~At() = default;
    /// No work at the point where it is.
    virtual void refill(const ConstVectorRef& w) = 0;
    /// W (N x M).
    virtual const Matrix& value() const = 0;
    /// out = G v.
    virtual void push(const ConstVectorRef& v, Matrix& out) = 0;
    /// out = G^T M.
    virtual void pull(const Matrix& M, VectorRef out) = 0;
    /// out += the derivative of G^T M along v.
    virtual void add_bend(const Matrix& M, const ConstVectorRef& v, VectorRef out) = 0;
    /// Tabulates G G^T of the blocks first <= l < last, for the next two.
    virtual void tabulate(Index first, Index last) = 0;
    /// out = G G^T M.
    virtual void spread(const Matrix& M, Matrix& out) = 0;
    /// Entry (i, j) of G G^T M, where M has a one at (k, l).
    virtual double spread(Index i, Index j, Index k, Index l) const = 0;
  };

  virtual ~MatrixMap() = default;
  virtual Index rows() const = 0;
  virtual Index cols() const = 0;
  virtual std::vector<Block> blocks() const = 0;
  virtual std::unique_ptr<At> make() const = 0;
  /// Whether the blocks are matrices that act one after the other.
  virtual bool is_chain() const { return false; }
};

/// sizes: n_0 = M, n_1, ..., n_L = N. Throws std::invalid_argument if there are fewer than two factors.
std::unique_ptr<MatrixMap> make_chain(std::vector<Index> sizes);
/// Of size N with `positive` columns of U and `negative` ones of V, of which there may be none.
std::unique_ptr<MatrixMap> make_difference(Index size, Index positive, Index negative);

}  // namespace grokflow
