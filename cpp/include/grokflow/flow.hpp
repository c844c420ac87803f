// An ODE dw/dt = f(w), or f(t, w), as the integrators see it.
//
// An implicit step solves with I - z f'(w), where z is the step times a coefficient of the method, real or
// complex. The three stages of that solve have three lifetimes, and each is an object:
//
//   flow.linearize(w, lin);      // f' frozen at w: kept over many steps
//   lin->factor(z, solver);      // one shift z of it: kept while the step size stays
//   solver->solve(v);            // v <- (I - z f'(w))^-1 v: once per Newton iteration
//
// An integrator never learns what kind of thing the Jacobian is. An ODE of one's own, without a matrix:
//
//   struct Decay final : grokflow::Flow {                        // dw/dt = -w
//     struct At final : grokflow::LinearizedFlow { ... factor() keeps z; solve() divides by 1 + z ... };
//     grokflow::Index size() const override { return 3; }
//     void compute_rhs(const grokflow::ConstVectorRef& w, grokflow::VectorRef out) override { out = -w; }
//     void compute_linearization(const grokflow::ConstVectorRef&,
//                                std::unique_ptr<grokflow::LinearizedFlow>& lin) override { ... }
//   };
//
// `GradientFlow` (gradient_flow.hpp) is the flow this library exists for; `DenseFlow` (dense_flow.hpp) takes
// any f with a dense Jacobian.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "grokflow/archive.hpp"
#include "grokflow/types.hpp"

namespace grokflow {

/// (I - z f'(w))^-1 for one z.
template <class Scalar>
class ShiftedSolver {
 public:
  virtual ~ShiftedSolver() = default;
  /// Overwrites v with the solution; false if the system cannot be solved as it should (negative curvature).
  virtual bool solve(Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> v) = 0;
  /// v <- (I - z f'(w))^-1 (v + z f(w)), where w is the point at which f' is frozen, if that is cheaper than
  /// a right-hand side and a solve; else false.
  virtual bool solve_with_field(const ConstVectorRef& /*w*/,
                                Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> /*v*/) {
    return false;
  }
  /// The same where the forces g of the flow are unknowns of their own: v <- dw, gap <- dg with
  /// dw + z (J^T dg - (f' + c J^T J) dw) = v and dg - c J dw = gap. Only where the flow has forces.
  virtual bool solve_with_forces(Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> /*v*/,
                                 Eigen::Ref<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> /*gap*/) {
    throw std::logic_error("this flow has no forces");
  }
  /// Whether solutions are as good as f' is frozen: exact up to round-off where f is linear, and elsewhere so good
  /// that more digits would not help Newton's method.
  virtual bool exact() const { return true; }
  /// Writes or reads what solves depend on beyond f' and z. Read after `factor` with the same z.
  virtual void state(Archive& /*archive*/) {}
};

/// f' frozen at one point.
class LinearizedFlow {
 public:
  virtual ~LinearizedFlow() = default;

  /// Makes `solver` solve with I - z f'(w). A solver of this object may be handed in again, so that its
  /// memory, and its factorisation when z has moved little, are put to use. False: the matrix is singular or,
  /// for a gradient flow, not positive definite; a smaller step is the way out.
  virtual bool factor(double z, std::unique_ptr<ShiftedSolver<double>>& solver) = 0;
  virtual bool factor(Complex z, std::unique_ptr<ShiftedSolver<Complex>>& solver) = 0;

  /// Told when Newton's method contracts badly although the linearisation is fresh. True if solves from now
  /// on come closer to the true Jacobian, at a higher price; the solvers must be factored again.
  virtual bool sharpen() { return false; }

  /// What it costs to freeze f' anew and to factor it, in right-hand sides, to a factor of two. Default:
  /// much.
  virtual double renewal_cost() const { return std::numeric_limits<double>::infinity(); }

  /// forces += c J v. Only where the flow has forces.
  virtual void react(const ConstVectorRef& v, VectorRef forces);

  /// Writes or reads what it has become since it was made, beyond f' at its point. Read after `linearize`
  /// at the same point.
  virtual void state(Archive& /*archive*/) {}
};

/// Thrown between two evaluations of a flow whose time is over.
struct OutOfTime {};

class Flow {
 public:
  virtual ~Flow() = default;

  virtual Index size() const = 0;

  /// Whether f' is the same everywhere: one linearisation then serves for ever, and Newton's method ends
  /// after one step.
  virtual bool is_linear() const { return false; }

  /// Whether f' is symmetric, so that its eigenvalues are real, as those of a gradient are: methods need not be
  /// stable for others then.
  virtual bool is_symmetric() const { return false; }

  /// The time of the evaluations to come, since the start of the run: methods set it, and only flows that
  /// depend on time ask for it.
  void set_time(double t) { time_ = t; }
  double time() const { return time_; }

  /// The number of forces g, if f(w) = -J(w)^T g(w) - D w with dg/dw = c J, which is stiff. Default: none that a
  /// method need know of.
  virtual Index num_forces() const { return 0; }
  /// out = g(w).
  virtual void forces(const ConstVectorRef& w, VectorRef out);

  /// out = f(w).
  void rhs(const ConstVectorRef& w, VectorRef out);

  /// The same with other forces than those at w: out = -J(w)^T forces - D w, gap = g(w) - forces.
  void rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out, VectorRef gap);

  /// Freezes f' at w. `lin` is null, or a spent object of this flow that is refilled.
  void linearize(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin);

  /// Takes w, which has left the set that the flow lives on by the error of a step or of an interpolation,
  /// back to it. False if it is too far away. Default: the flow lives everywhere.
  virtual bool retract(VectorRef w);

  /// What a run in which ways back failed should say of the flow where it is: sentences, each after a space.
  /// Default: nothing.
  virtual std::string trouble();

  /// Writes or reads what the flow remembers of earlier evaluations. Default: nothing but the work done.
  virtual void state(Archive& archive);

  /// Work done through this flow and everything made from it.
  Stats& stats() { return stats_; }

  /// Called before every evaluation, and between the products of a long one: throws to stop a run in between.
  void check() const;

  /// The user's part of that.
  std::function<void()> checkpoint;
  /// After which `check` throws OutOfTime.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();

 protected:
  virtual void compute_rhs(const ConstVectorRef& w, VectorRef out) = 0;
  virtual void compute_rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out,
                           VectorRef gap);
  /// A flow for explicit methods only need not offer it.
  virtual void compute_linearization(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin);

 private:
  Stats stats_;
  double time_ = 0.0;
};

}  // namespace grokflow
