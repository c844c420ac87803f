#include "grokflow/drift_monitor.hpp"

#include <sstream>

namespace grokflow {

Status DriftMonitor::step(double s, std::string& message) {
  const Spectrum now = flow_.tangent().track();
  const bool first = spectra_.empty();
  const Spectrum before = first ? now : spectra_.back();
  s_.push_back(s);
  spectra_.push_back(now);
  std::ostringstream text;
  text.precision(4);
  if (now.rank != before.rank) {
    text << "The rank of the Hessian changed from " << before.rank << " to " << now.rank << " at s = " << s
         << ", where its smallest non-zero eigenvalue had been " << before.smallest
         << ": a singular point of the manifold.";
    message = text.str();
    if (options_.stop_on_rank_change) return Status::rank_change;
  }
  if (flow_.stationarity() <= options_.kkt_tol && options_.kkt_tol > 0.0) {
    text.str("");
    text << "The drift came to rest at a KKT point: ||P grad R|| = " << flow_.stationarity()
         << " ||grad R||.";
    message = text.str();
    return Status::stationary;
  }
  return Status::running;
}

}  // namespace grokflow
