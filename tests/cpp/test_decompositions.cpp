// Decompositions, each by its law.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "numerics/orthogonal.hpp"
#include "numerics/shifted_factor.hpp"
#include "numerics/singular_values.hpp"
#include "numerics/symmetric_eigen.hpp"

using namespace grokflow;

namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

Matrix irregular(Index rows, Index cols) {
  return Matrix::NullaryExpr(
      rows, cols, [](Index i, Index j) { return std::sin(1.0 + double(i * i) + 3.7 * double(i * j)); });
}

Matrix orthonormal(Index rows, Index cols) { return ThinQr(irregular(rows, cols)).Q; }

bool orthonormal_columns(const Matrix& Q) {
  return (Q.transpose() * Q - Matrix::Identity(Q.cols(), Q.cols())).norm() <= 100.0 * kEpsilon;
}

/// Matrices of these singular values, tall and wide, give them back.
void check_singular_values(const Vector& values) {
  const Index n = values.size();
  const Matrix tall = orthonormal(n + 5, n) * values.asDiagonal() * orthonormal(n, n).transpose();
  for (const Matrix& A : {tall, Matrix(tall.transpose())}) {
    const Vector found = singular_values(A);
    CHECK(found.size() == n);
    CHECK_NEAR((found - values).cwiseAbs().maxCoeff(), 0.0, 40.0 * kEpsilon * values[0]);
    for (Index i = 1; i < n; ++i) CHECK(found[i] <= found[i - 1] && found[i] >= 0.0);
  }
}

}  // namespace

TEST(qr_gives_the_matrix_back) {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {7, 3}, {5, 5}, {90, 60}}) {
    const Matrix A = irregular(rows, cols);
    const ThinQr qr(A);
    CHECK(qr.Q.cols() == cols && orthonormal_columns(qr.Q));
    CHECK((qr.Q * qr.R - A).norm() <= 100.0 * kEpsilon * A.norm());
    CHECK(qr.R.isUpperTriangular(0.0));
    CHECK(triangular_factor(A) == qr.R);
  }
}

TEST(least_squares_leaves_an_orthogonal_residual) {
  const Matrix A = irregular(9, 4);
  const Vector b = Vector::LinSpaced(9, -1.0, 2.0), x = least_squares(A, b);
  CHECK((A.transpose() * (A * x - b)).norm() <= 100.0 * kEpsilon * A.norm() * b.norm());
  CHECK((least_squares(A, A * x) - x).norm() <= 1000.0 * kEpsilon * x.norm());
}

TEST(range_counts_independent_columns) {
  Matrix A(6, 4);
  A.leftCols(2) = irregular(6, 2);
  A.col(2) = A.col(0) - 2.0 * A.col(1);
  A.col(3) = A.col(0) + 1e-7 * Vector::Unit(6, 5);
  for (const auto& [rtol, rank] : {std::pair<double, Index>{1e-10, 3}, {1e-5, 2}}) {
    const Matrix Q = orthonormal_range(A, rtol);
    CHECK(Q.cols() == rank && orthonormal_columns(Q));
    CHECK((A - Q * (Q.transpose() * A)).norm() <= rtol * A.norm());
  }
}

TEST(inverse_of_a_matrix) {
  const Matrix A = irregular(6, 6) + 3.0 * Matrix::Identity(6, 6);
  CHECK((A * inverse(A) - Matrix::Identity(6, 6)).norm() <= 1e-13);
}

TEST(symmetric_eigenproblem) {
  const Index n = 70;
  const Matrix A = irregular(n, n), S = A + A.transpose();
  SymmetricEigen eigen;
  for (const double sign : {1.0, -1.0}) {  // in the same memory
    eigen.compute(sign * S);
    CHECK(orthonormal_columns(eigen.vectors()));
    const Matrix back = eigen.vectors() * eigen.values().asDiagonal() * eigen.vectors().transpose();
    CHECK((back - sign * S).norm() <= 100.0 * kEpsilon * S.norm());
    CHECK((symmetric_eigenvalues(sign * S) - eigen.values()).norm() <= 100.0 * kEpsilon * S.norm());
  }
  // -1 2 -1: 2 - 2 cos(k pi / (n + 1))
  const Vector values = tridiagonal_eigenvalues(Vector::Constant(n, 2.0), Vector::Constant(n - 1, -1.0));
  for (Index k = 0; k < n; ++k)
    CHECK_NEAR(values[k], 2.0 - 2.0 * std::cos(double(k + 1) * std::acos(-1.0) / double(n + 1)),
               100.0 * kEpsilon);
}

TEST(singular_values_of_matrices_made_from_them) {
  check_singular_values(Vector::Ones(1));
  check_singular_values((Vector(5) << 3.0, 2.0, 2.0, 1.0, 0.5).finished());
  check_singular_values(Vector::LinSpaced(60, 5.0, 0.1));
  Vector graded(18), deficient = Vector::Zero(30);
  for (Index i = 0; i < 18; ++i) graded[i] = std::pow(10.0, -double(i));
  deficient.head(11) = Vector::LinSpaced(11, 2.0, 1.0);
  for (const double size : {1.0, 1e200, 1e-200}) {
    check_singular_values(size * graded);
    check_singular_values(size * deficient);
  }
}

TEST(singular_values_at_the_edges) {
  CHECK(singular_values(Matrix::Zero(4, 3)) == Vector::Zero(3));
  CHECK_NEAR(singular_values(Matrix::Constant(1, 1, -2.0))[0], 2.0, 4.0 * kEpsilon);
  Matrix spoilt = Matrix::Identity(3, 3);
  spoilt(1, 2) = std::nan("");
  CHECK(singular_values(spoilt).array().isNaN().all());
}
