// What a flow has come to, in words: by the spectrum of the Hessian where it ended, and by looks along its kernel.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "grokflow/landing.hpp"
#include "grokflow/piecewise.hpp"
#include "tangent/residual_vanishes.hpp"

namespace grokflow {
namespace {

constexpr double kClearGap = 10.0;  // below, the rank is a matter of taste
constexpr double kGrowth = 1.001;   // of ||w|| over a decade of t, that is running away
constexpr double kNear = 1e-7, kFar = 0.4, kStride = 8.0;  // of looks along the kernel, over the size of w

}  // namespace

/// Whether the loss falls from w on in some direction of the kernel of the Hessian, along which the normal
/// step follows what would be M, as it does not from a minimiser. The first change that is not round-off
/// decides: beyond, a fall by small targets is hidden.
bool LandingWatch::falls_along_kernel(TangentSpace& tangent, const ConstVectorRef& w, double largest) {
  const Index d = w.size(),
              directions = &tangent == full_.get() && full_kind_ == CurvatureKind::krylov ? 2 : 8;
  const double here = problem_->loss(w), size = std::max(w.norm(), 1.0);
  // Of the loss itself, of its arithmetic and what a normal step finds beside w, and of the weights, which is all
  // that there is where the loss vanishes.
  double heard = 0.0;
  const auto hear = [&](const Vector& shift) {
    probe_ = w + shift;
    heard = std::max(heard, std::abs(problem_->loss(probe_) - here));
  };
  for (const double sign : {-1.0, 1.0}) hear((sign * kRoundOff) * w.cwiseProduct(noise_.cwiseSign()));
  tangent.normal_step(w, step_);
  hear(step_);
  const double digits = kRoundOff * size,
               noise = kNoise * (kRoundOff * std::abs(here) + heard + largest * digits * digits);
  Vector along(d), slope(d);
  problem_->gradient(w, slope);
  // Beyond what the gradient left at w explains, which is all that a convex loss falls by.
  const auto fall = [&](double reach) {
    probe_ = w + reach * along;
    tangent.normal_step(probe_, step_);
    probe_ += step_;
    const double change = here - problem_->loss(probe_), explained = std::abs(slope.dot(probe_ - w));
    return std::copysign(std::max(std::abs(change) - explained, 0.0), change);
  };
  const Vector many = unstructured(directions * d);
  for (Index k = 0; k < 2 * directions; ++k) {
    if (k % 2 == 0) {
      along = many.segment(k / 2 * d, d);
      const double whole = along.norm();
      tangent.project(along);
      if (along.norm() < 1e-6 * whole) return false;  // there is no kernel
      along *= size / along.norm();
    } else {
      along = -along;
    }
    double reach = kNear;
    while (reach < kFar && std::abs(fall(reach)) <= noise) reach *= kStride;
    for (const double at : {reach / 4.0, reach / 2.0, reach}) {
      const double change = fall(at);
      if (change > noise && fall(2.0 * at) > change) return true;
      if (std::abs(change) > noise) break;
    }
  }
  return false;
}

void LandingWatch::diagnose(Landing& landing, TangentSpace& tangent) {
  const Spectrum& spectrum = landing.spectrum;
  std::ostringstream text;
  text.precision(3);
  const double norm = landing.w.stableNorm();
  const bool moving = landing.status == Status::finished;  // not at rest in the longest of times
  const bool in_piece =
      dynamic_cast<const Piece*>(problem_.get());  // beyond its mode it may fall, and F need not
  if (moving && norm > std::max(kGrowth * older_norm_, largest_)) {
    landing.status = Status::no_minimiser;
    text << "The weights run away: ||w|| is still growing, to " << norm << " at t = " << t_
         << ", while the loss falls to " << problem_->loss(landing.w)
         << ". It has no minimiser at finite weights, and no limit of the flow exists.";
  } else if (spectrum.num_negative > 0 && (!moving || -spectrum.lowest * t_ > kEscape)) {
    landing.status = Status::saddle;
    text << "The flow came to rest on a saddle: the Hessian has " << spectrum.num_negative
         << (spectrum.num_negative == 1 ? " negative eigenvalue" : " negative eigenvalues")
         << ". Start beside it, e.g. from w0 plus a small random vector.";
  } else if ((!moving || at_rest(landing.w)) && !residual_vanishes(*problem_, landing.w) && !in_piece &&
             falls_along_kernel(tangent, landing.w, spectrum.largest)) {
    landing.status = Status::saddle;
    text << (problem_->has_hessian()
                 ? "The flow came to rest on a degenerate saddle: no eigenvalue of the Hessian is negative, "
                   "yet "
                   "the loss falls along its kernel."
                 : "The flow came to rest on a saddle: the loss falls along the kernel of J.")
         << " Start beside it, e.g. from w0 plus a small random vector.";
  } else if (moving && blind(landing.w)) {
    text << "The flow came to rest where the residual is not zero, ||r|| = " << landing.residual_norm
         << ": whether on a minimiser or on a saddle, only the Hessian can tell. Give the problem hvp=.";
  } else if (moving) {
    landing.status = Status::degenerate;
    text << "The flow approaches its limit at an algebraic rate: the smallest eigenvalue of the Hessian, "
         << spectrum.smallest << " at t = " << t_
         << ", vanishes there, and the minimisers form no manifold around it.";
  } else if (spectrum.rank > 0 && spectrum.gap < kClearGap && options_.tangent.rtol_rank == 0.0) {
    landing.status = Status::degenerate;
    text << "The rank of the Hessian cannot be decided: its eigenvalues have no gap around the threshold "
            "(the smallest "
            "that counts is "
         << spectrum.smallest << ", only " << spectrum.gap << " times the next). Set rtol_rank.";
  } else {
    const bool zero = !problem_->has_residuals() || residual_vanishes(*problem_, landing.w);
    text << "The flow has landed on a minimiser.";
    if (!zero) text << " The residual is not zero there: ||r|| = " << landing.residual_norm << ".";
  }
  landing.message = text.str();
}

}  // namespace grokflow
