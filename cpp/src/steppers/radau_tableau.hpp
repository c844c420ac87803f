// The coefficients of Radau IIA with three stages, and the eigenvectors of A^-1, in closed form.
#pragma once

#include <cmath>

#include "grokflow/types.hpp"

namespace grokflow {

using Matrix3 = Eigen::Matrix3d;
using Vector3 = Eigen::Vector3d;

/// The w with M w = 0, w_3 = 1, for an M of rank 2: orthogonal to two of its rows.
template <class Scalar>
Eigen::Matrix<Scalar, 3, 1> kernel(const Eigen::Matrix<Scalar, 3, 3>& M) {
  const auto a = M.row(0), b = M.row(1);
  const Scalar last = a[0] * b[1] - a[1] * b[0];
  return {(a[1] * b[2] - a[2] * b[1]) / last, (a[2] * b[0] - a[0] * b[2]) / last, Scalar(1)};
}

struct RadauTableau {
  Vector3 c;
  Matrix3 inverse;        // A^-1
  double mu;              // real eigenvalue of A^-1
  Complex nu;             // complex eigenvalue, Im nu > 0
  Vector3 l, v;           // left and right eigenvector of mu, l.v = 1
  Eigen::Vector3cd m, u;  // of nu, m.u = 1
  Vector3 e;              // of the error estimate, for Z / h
  Matrix3 p;              // Q = Z p: coefficients of x, x^2, x^3 of the collocation polynomial

  RadauTableau() {
    const double s = std::sqrt(6.0);
    c << (4.0 - s) / 10.0, (4.0 + s) / 10.0, 1.0;
    e = Vector3(-13.0 - 7.0 * s, -13.0 + 7.0 * s, -1.0) / 3.0;
    // Row j has the polynomial that is 1 at c_j, and 0 at the other nodes and at 0; F is the slope of Q.
    for (int j = 0; j < 3; ++j) {
      const double a = c[(j + 1) % 3], b = c[(j + 2) % 3];
      p.row(j) = Vector3(a * b, -(a + b), 1.0) / (c[j] * (c[j] - a) * (c[j] - b));
      for (int i = 0; i < 3; ++i) inverse(i, j) = p(j, 0) + c[i] * (2.0 * p(j, 1) + c[i] * 3.0 * p(j, 2));
    }
    // Its characteristic polynomial is y^3 + 9 y - 6 with y = x - 3.
    const double root3 = std::cbrt(3.0), root9 = std::cbrt(9.0);
    mu = 3.0 + root9 - root3;
    nu = {3.0 - 0.5 * (root9 - root3), 0.5 * std::sqrt(3.0) * (root9 + root3)};
    const Matrix3 real = inverse - mu * Matrix3::Identity();
    const Eigen::Matrix3cd complex = inverse.cast<Complex>() - nu * Eigen::Matrix3cd::Identity();
    v = kernel(real);
    l = kernel<double>(real.transpose());
    l /= l.cwiseProduct(v).sum();
    u = kernel(complex);
    m = kernel<Complex>(complex.transpose());
    m /= m.cwiseProduct(u).sum();
  }
};

}  // namespace grokflow
