// A training loss, and its linearisation at a point.
//
//   F(w) = (c/2) ||r(w)||^2,   J = dr/dw  (n x d),   grad F = c J^T r,
//   Hess F = c J^T J + c sum_i r_i Hess r_i,         K = J J^T  (n x n, the tangent kernel).
//
// A problem of one's own overrides a handful of functions. The residual r_i = w_i w_{i+1} - y_i, whole:
//
//   struct Chain final : grokflow::Problem {
//     struct At final : grokflow::Linearization {               // r and J frozen at w
//       explicit At(const grokflow::ConstVectorRef& at) : Linearization(at.size(), at.size() - 1), w(at) {}
//       void jvp(const grokflow::ConstVectorRef& v, grokflow::VectorRef out) const override {
//         const auto m = w.size() - 1;
//         out = w.head(m).cwiseProduct(v.tail(m)) + w.tail(m).cwiseProduct(v.head(m));
//       }
//       void vjp(const grokflow::ConstVectorRef& u, grokflow::VectorRef out) const override {
//         const auto m = w.size() - 1;
//         out.setZero();
//         out.tail(m) += w.head(m).cwiseProduct(u);
//         out.head(m) += w.tail(m).cwiseProduct(u);
//       }
//       grokflow::Vector w;
//     };
//     explicit Chain(const grokflow::Vector& data) : Problem(data.size() + 1, data.size(), 1.0), y(data) {}
//     void residual(const grokflow::ConstVectorRef& w, grokflow::VectorRef out) const override {
//       out = w.head(y.size()).cwiseProduct(w.tail(y.size())) - y;
//     }
//     void linearize(const grokflow::ConstVectorRef& w,
//                    std::unique_ptr<grokflow::Linearization>& lin) const override {
//       lin = std::make_unique<At>(w);
//     }
//     grokflow::Vector y;
//   };
//
// `gradient`, `loss`, `gram` and `hessian` then follow by default; override what the structure makes cheap.
// All functions are const and may be called from several threads on one object.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grokflow/decay.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// A named array inside w, stored row-major from index `begin` on; `shape` as the user sees it.
struct Block {
  std::string name;
  Index begin;
  std::vector<Index> shape;
  Index size() const;
};

/// Operations at the rate of a product of matrices, to a factor of two.
struct Cost {
  double gradient;        ///< of F; a pair of products with J and J^T costs about the same
  double gram;            ///< the whole K
  bool measured = false;  ///< by a clock: it may choose a strategy, which is told, but decide on no step
};

/// Something about w worth watching, e.g. {"test_loss", 0, ...} or {"singular_values", 10, ...}.
struct Quantity {
  std::string name;
  Index size;                                                            ///< entries; 0 for a scalar
  std::function<void(const ConstVectorRef& w, VectorRef out)> evaluate;  ///< `out` has max(size, 1) entries
};

/// In place: r becomes the gradient of a function of r, or v the product of its Hessian with v.
using OnResiduals = std::function<void(VectorRef)>;

/// r and J, or the Hessian, frozen at one point. Immutable until `Problem::linearize` refills it, so a
/// stale Jacobian is the lifetime of such an object and never a flag.
class Linearization {
 public:
  Linearization(Index num_params, Index num_residuals);
  virtual ~Linearization() = default;

  Index num_params() const { return num_params_; }
  Index num_residuals() const { return num_residuals_; }

  /// out (n) = J v. A problem without residuals has none.
  virtual void jvp(const ConstVectorRef& v, VectorRef out) const;

  /// out (d) = J^T u.
  virtual void vjp(const ConstVectorRef& u, VectorRef out) const;

  /// K (n x n, both triangles) = J_S J_S^T, where S are the parameters begin <= i < end.
  /// Default: n products with J^T and J; a model overrides it where its structure makes K cheap.
  virtual void gram(Index begin, Index end, MatrixRef K) const;

  /// out (n, one column for each) = J e. Default: as many products.
  virtual void jvp_slants(const Decay::Slants& slants, MatrixRef out) const;

  /// c r, if it is at hand.
  virtual const Vector* scaled_residual() const { return nullptr; }
  /// out (d) = grad F(w), if what is frozen here makes it cheaper than `Problem::gradient`. Default: J^T of c r.
  virtual bool gradient(VectorRef out) const;

  /// out (d) = Hess F(w) v: the full Hessian, with the factor c. Only if `Problem::has_hvp()`.
  virtual void hvp(const ConstVectorRef& v, VectorRef out) const;

  /// out (d) = c sum_i r_i Hess r_i v, what Hess F v has beside c J^T J v, if that is cheaper than `hvp`; else false.
  virtual bool residual_hvp(const ConstVectorRef& v, VectorRef out) const;

  /// v <- (diag(alpha) + beta Hess F)^-1 v up to an error of `tolerance`, relative to the solution; alpha has d
  /// entries, or one for all. False where negative curvature was met. Only if `Problem::solves()`.
  virtual bool solve(const ConstVectorRef& alpha, double beta, double tolerance, VectorRef v) const;

  /// H (d x d, both triangles) = Hess F(w). Default: d products `hvp`.
  virtual void hessian(MatrixRef H) const;

  /// out (d) = J^T S J v + sum_i g_i Hess r_i v: the Hessian of a function of r with gradient g and Hessian S
  /// there. Only if `Problem::has_hvp_through()`.
  virtual void hvp_through(const ConstVectorRef& g, const OnResiduals& S, const ConstVectorRef& v,
                           VectorRef out) const;

  /// Called between the products of the defaults; it may throw to end them.
  std::function<void()> checkpoint;
  void check() const {
    if (checkpoint) checkpoint();
  }

 private:
  Index num_params_, num_residuals_;
};

class Problem {
 public:
  /// d parameters, n residuals (0: the loss is no sum of squares) and the factor c.
  Problem(Index num_params, Index num_residuals, double scale);
  virtual ~Problem() = default;
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  Index num_params() const { return num_params_; }
  Index num_residuals() const { return num_residuals_; }
  double scale() const { return scale_; }
  bool has_residuals() const { return num_residuals_ > 0; }

  /// Whether F is quadratic: J and the Hessian are then the same everywhere.
  virtual bool is_quadratic() const { return false; }
  /// Whether it is in the parameters begin <= i < end of all these ranges, where the others stay.
  virtual bool is_quadratic_in(const std::vector<std::pair<Index, Index>>& /*ranges*/) const {
    return is_quadratic();
  }
  /// Whether linearisations give `scaled_residual` and cost no more than a gradient: implicit steps then take these
  /// forces for unknowns of their own.
  virtual bool has_forces() const { return false; }
  /// Whether the linearisation offers `hvp` (and so `hessian`).
  virtual bool has_hvp() const { return false; }
  /// Whether the linearisation offers `hessian`, by `hvp` or otherwise.
  virtual bool has_hessian() const { return has_hvp(); }
  /// Whether the linearisation offers `solve`, which `krylov` then uses: where the model lives on another device,
  /// vectors cross once a solve instead of once a product.
  virtual bool solves() const { return false; }
  /// Whether the linearisation offers `hvp_through`.
  virtual bool has_hvp_through() const { return false; }
  /// Whether F may have a minimiser at finite w, as far as its loss tells: a label that is certain has none.
  virtual bool attained() const { return true; }
  /// F below which there is no critical point, for a model that is linear in its last weights: its flow runs away.
  /// 0: none is known.
  virtual double escape_loss() const { return 0.0; }
  /// Whether `kernel_trace` is the gradient of tr K.
  virtual bool has_kernel_trace() const { return has_residuals(); }

  /// out (n) = r(w).
  virtual void residual(const ConstVectorRef& w, VectorRef out) const;
  /// F(w). Default: (c/2) ||r||^2.
  virtual double loss(const ConstVectorRef& w) const;
  /// out (d) = grad F(w), in one fused pass where the model can. Default: c J^T r.
  virtual void gradient(const ConstVectorRef& w, VectorRef out) const;
  /// out (d) = J^T g: the gradient of a function of r, whose gradient g `outer` puts in place of r. Default: by
  /// a linearisation.
  virtual void gradient_through(const ConstVectorRef& w, const OnResiduals& outer, VectorRef out) const;
  /// out (d) = the part of grad F that labels which are certain, and all but fitted, have for themselves: along it
  /// they are fitted ever better, and the others feel nothing. False if there is none.
  virtual bool faint_gradient(const ConstVectorRef& /*w*/, VectorRef /*out*/) const { return false; }
  /// Freezes r and J at w. `lin` is null, or a spent object of this problem whose memory is used again.
  virtual void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const = 0;

  /// By which strategies are chosen. Default: six operations for each residual and parameter, and as many
  /// gradients for K as there are residuals; not known (infinite) without residuals.
  virtual Cost cost() const;

  /// tr K(w) = sum_i ||grad r_i||^2, and in `gradient` (d) its gradient 2 sum_i Hess r_i grad r_i. Default: n
  /// pairs of linearisations beside w, by central differences; a model overrides it by the closed formula.
  virtual double kernel_trace(const ConstVectorRef& w, VectorRef gradient) const;

  /// The named arrays that w consists of; they tile 0..d in order. Default: one block "w".
  virtual std::vector<Block> blocks() const;
  /// What can be watched by name. Default: train_loss, norm (||w||) and grad_norm (||grad F||).
  /// A model appends its own, e.g. test_loss.
  virtual std::vector<Quantity> quantities() const;

 private:
  Index num_params_, num_residuals_;
  double scale_;
};

}  // namespace grokflow
