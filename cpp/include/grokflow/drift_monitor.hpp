// Watches a drift for what its theory rests on: that the Hessian keeps its rank, with eta, its smallest
// non-zero eigenvalue, far above lam (the Morse-Bott property). Sparse and low-rank end points are singular
// points of M, where eta sinks to 0.
//
//   grokflow::DriftMonitor monitor(flow, {});                         // flow: a NormFlow
//   grokflow::Run run(integrator, recorder, {}, {}, [&](double s, const auto&, std::string& message) {
//     return monitor.step(s, message);
//   });
//   monitor.s(), monitor.spectra()                                    // one entry a step
#pragma once

#include <string>
#include <vector>

#include "grokflow/norm_flow.hpp"

namespace grokflow {

class DriftMonitor {
 public:
  struct Options {
    bool stop_on_rank_change = false;
    double kkt_tol = 0.0;  ///< stop where ||P grad R|| <= kkt_tol ||grad R||; 0: never
  };

  /// The flow must outlive the monitor.
  DriftMonitor(NormFlow& flow, Options options) : flow_(flow), options_(options) {}

  /// Looks at the tangent space at the end of a step. Returns `running`, or `stationary` or `rank_change`
  /// with a message.
  Status step(double s, std::string& message);

  void state(Archive& archive) { archive(s_, spectra_); }

  const std::vector<double>& s() const { return s_; }
  const std::vector<Spectrum>& spectra() const { return spectra_; }

 private:
  NormFlow& flow_;
  Options options_;
  std::vector<double> s_;
  std::vector<Spectrum> spectra_;
};

}  // namespace grokflow
