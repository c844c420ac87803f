// Products against the expressions that they stand for, on blocks of larger matrices.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "grokflow/threads.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

using namespace grokflow;

namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

Matrix irregular(Index rows, Index cols) {
  return Matrix::NullaryExpr(
      rows, cols, [](Index i, Index j) { return std::sin(1.0 + double(i * i) + 3.7 * double(i * j)); });
}

/// work(out), on a block of a matrix full of `fill`, leaves `expected` there and the rest as it was.
template <class Work>
void check_block(const Matrix& expected, double fill, Index depth, Work&& work) {
  const Index rows = expected.rows(), cols = expected.cols();
  Matrix around = Matrix::Constant(rows + 3, cols + 2, fill);
  work(around.block(2, 1, rows, cols));
  CHECK_NEAR((around.block(2, 1, rows, cols) - expected).cwiseAbs().maxCoeff(), 0.0,
             10.0 * kEpsilon * double(depth + 1));
  around.block(2, 1, rows, cols).setConstant(fill);
  CHECK(std::isnan(fill) ? around.array().isNaN().all() : (around.array() == fill).all());
}

void check_products(Index rows, Index depth, Index cols) {
  const Matrix larger_A = irregular(rows + 5, depth + 4), larger_B = irregular(depth + 1, cols + 3);
  const auto A = larger_A.block(3, 2, rows, depth);
  const auto B = larger_B.block(1, 1, depth, cols);
  const Matrix At = A.transpose(), Bt = B.transpose(), ones = Matrix::Ones(rows, cols);
  const Matrix AB = (A.lazyProduct(B)).eval();
  const double nan = std::nan("");  // what `out` held does not count
  check_block(AB, nan, depth, [&](auto out) { multiply(A, B, out); });
  check_block(AB, nan, depth, [&](auto out) { multiply_tn(At, B, out); });
  check_block(AB, nan, depth, [&](auto out) { multiply_nt(A, Bt, out); });
  check_block(-2.0 * AB, nan, 2 * depth, [&](auto out) { multiply_tt(At, Bt, out, -2.0); });
  check_block(ones + AB, 1.0, depth, [&](auto out) { add_product(A, B, out); });
  check_block(ones - AB, 1.0, depth, [&](auto out) { add_product_tn(At, B, out, -1.0); });
  check_block(ones + AB, 1.0, depth, [&](auto out) { add_product_nt(A, Bt, out); });
  check_block(ones + AB, 1.0, depth, [&](auto out) { add_product_tt(At, Bt, out); });

  const auto x = B.col(0);
  check_block(AB.col(0), nan, depth, [&](auto out) { apply(A, x, out.col(0)); });
  check_block(AB.col(0), nan, depth, [&](auto out) { apply_transposed(At, x, out.col(0)); });
  check_block(ones.col(0) - AB.col(0), 1.0, depth, [&](auto out) { add_applied(A, x, out.col(0), -1.0); });
  check_block(ones.col(0) + 2.0 * AB.col(0), 1.0, 2 * depth,
              [&](auto out) { add_applied_transposed(At, x, out.col(0), 2.0); });
}

}  // namespace

TEST(products_equal_their_expressions) {
  for (const auto& [rows, depth, cols] : {std::tuple<Index, Index, Index>{1, 1, 1},
                                          {3, 5, 2},
                                          {1, 30, 40},
                                          {40, 30, 1},
                                          {33, 1, 29},
                                          {70, 129, 55}})
    check_products(rows, depth, cols);
}

TEST(products_of_nothing_are_zero) {
  check_block(Matrix::Zero(4, 3), std::nan(""), 0,
              [](auto out) { multiply(Matrix(4, 0), Matrix(0, 3), out); });
  check_block(Vector::Zero(4), std::nan(""), 0, [](auto out) { apply(Matrix(4, 0), Vector(0), out.col(0)); });
}

TEST(symmetric_products) {
  const int threads = num_threads();
  for (const Index size : {5, 250}) {  // in one tile, and in several
    const Matrix A = irregular(size, 40), At = A.transpose();
    Matrix K = Matrix::Constant(size, size, std::nan("")), again = K, columns = K;
    row_gram(A, K);
    CHECK((K - A * At).norm() <= 40.0 * kEpsilon * K.norm());
    CHECK(K == K.transpose());
    set_num_threads(3);
    row_gram(A, again);
    CHECK(K == again);
    column_gram(At, columns, 0.5);
    CHECK((columns - 0.5 * K).norm() <= 40.0 * kEpsilon * K.norm());
    CHECK(columns == columns.transpose());
    set_num_threads(threads);
    Matrix lower = Matrix::Ones(size, size);
    add_gram(A, lower, -1.0);
    lower.triangularView<Eigen::StrictlyLower>() = lower.transpose();  // of ones: the upper one is untouched
    CHECK((lower - Matrix(lower.diagonal().asDiagonal())).sum() == double(size * (size - 1)));
    CHECK((lower.diagonal().array() - 1.0 + K.diagonal().array()).abs().maxCoeff() <= 1e-12);
  }
}
