// x = J^+ b, by products with J and J^T alone.
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "grokflow/problem.hpp"
#include "numerics/conjugate_gradients.hpp"
#include "numerics/recycled_spectrum.hpp"

namespace grokflow {

/// x = J^T u with K u = b, K = J J^T, by conjugate gradients, which minimise the error of x over their Krylov
/// space. Each solve preconditions the next ones, also those with another J in the neighbourhood.
///
///   PseudoInverse inverse(n, d, rank, 1e-12);           // eigenvalues of K below 1e-12 ||K|| count as zero
///   inverse.take(lin);                                  // J
///   inverse.solve(b, x, 1e-8, floor, [] { ++count; });  // called once an iteration
///   inverse.multiplier();                               // u
///
/// The error of x is then below 1e-8 ||x||, or `floor`.
///
/// What round-off puts into the kernel of a singular K is no part of b: a search direction on which K all but
/// vanishes ends the solve, as does a `floor` at the round-off of b.
///
/// Memory: 2 vectors of d numbers, and 1.2 `rank` + 6 of n.
class PseudoInverse {
 public:
  PseudoInverse(Index n, Index d, Index rank, double rtol_rank)
      : rtol_rank_(rtol_rank), spectrum_(n, rank), u_(n), direction_(d), search_(d) {
    cg_.resize(n);
  }

  void take(const Linearization& lin) {
    lin_ = &lin;
    if (!taken_up_) spectrum_.forget();
    taken_up_ = false;
  }

  template <class Count>
  void solve(const ConstVectorRef& b, VectorRef x, double accuracy, double floor, Count&& count) {
    using End = ConjugateGradients<double>::End;
    x.setZero();
    search_.setZero();
    cg_.residual() = b;
    spectrum_.precondition(0.0, cg_.residual(), u_);
    const double size = std::sqrt(std::abs(cg_.residual().dot(u_)) / spectrum_.least());  // of x, about
    u_.setZero();
    if (size <= floor) return;
    ended_ = false;
    End end = End::limit;
    for (Index left = kMaxIterations, most; left > 0 && end == End::limit; left -= most) {
      most = std::min(left, spectrum_.room());
      falls_.clear();
      end = cg_.solve(System<Count>{*this, x, accuracy, floor, count}, static_cast<int>(most));
      spectrum_.absorb();
    }
  }

  const Vector& multiplier() const { return u_; }

  void state(Archive& archive) {
    archive(largest_, spectrum_);
    taken_up_ = archive.reading();
  }

 private:
  static constexpr Index kMaxIterations = 10'000;

  template <class Count>
  struct System {
    PseudoInverse& self;
    VectorRef& x;
    double accuracy, floor;
    Count& count;

    void precondition(const Vector& residual, Vector& step) {
      self.spectrum_.precondition(0.0, residual, step);
    }
    bool done(const Vector&, double) {
      return self.ended_ || self.error() <= std::max(accuracy * x.norm(), floor);
    }
    void apply(const Vector& step, Vector& image) {
      count();
      self.lin_->vjp(step, self.direction_);
      self.lin_->jvp(self.direction_, image);
      self.spectrum_.note(step, image);
    }
    void advance(double beta, double length, double slope, const Vector& search) {
      const double eigenvalue = slope / length / search.squaredNorm();  // Rayleigh's quotient
      self.largest_ = std::max(self.largest_, eigenvalue);
      self.ended_ = eigenvalue <= self.rtol_rank_ * self.largest_;
      if (self.ended_) return;
      self.search_ = self.direction_ + beta * self.search_;
      x += length * self.search_;
      self.u_ += length * search;
      self.falls_.push_back(length * slope);
    }
  };

  /// Of x. The squared error falls by `length * slope` in an iteration (Hestenes & Stiefel 1952): the latest
  /// falls tell how far there was to go (Meurant & Tichy, Numer. Algorithms 82, 2019).
  double error() const {
    const std::size_t size = falls_.size(), latest = std::min(size, 1 + size / 4);
    return std::sqrt(std::accumulate(falls_.end() - static_cast<long>(latest), falls_.end(), 0.0));
  }

  double rtol_rank_, largest_ = 0.0;  // a lower bound of ||K||
  bool taken_up_ = false;  // the spectrum was read, and its directions belong to the J that comes next
  bool ended_ = false;     // all that is left lies in the kernel of K
  RecycledSpectrum spectrum_;
  ConjugateGradients<double> cg_;
  const Linearization* lin_ = nullptr;
  Vector u_, direction_, search_;
  std::vector<double> falls_;
};

}  // namespace grokflow
