#include "grokflow/flow.hpp"

#include <stdexcept>

namespace grokflow {

void LinearizedFlow::react(const ConstVectorRef&, VectorRef) {
  throw std::logic_error("this flow has no forces");
}

void Flow::forces(const ConstVectorRef&, VectorRef) {}

void Flow::check() const {
  using Clock = std::chrono::steady_clock;
  if (checkpoint) checkpoint();
  if (deadline != Clock::time_point::max() && Clock::now() > deadline) throw OutOfTime{};
}

void Flow::rhs(const ConstVectorRef& w, VectorRef out) {
  check();
  ++stats_.nfev;
  compute_rhs(w, out);
}

void Flow::rhs(const ConstVectorRef& w, const ConstVectorRef& forces, VectorRef out, VectorRef gap) {
  check();
  ++stats_.nfev;
  compute_rhs(w, forces, out, gap);
}

void Flow::linearize(const ConstVectorRef& w, std::unique_ptr<LinearizedFlow>& lin) {
  check();
  ++stats_.nlinearize;
  compute_linearization(w, lin);
}

bool Flow::retract(VectorRef) { return true; }

std::string Flow::trouble() { return {}; }

void Flow::state(Archive& archive) { archive(stats_); }

void Flow::compute_rhs(const ConstVectorRef&, const ConstVectorRef&, VectorRef, VectorRef) {
  throw std::logic_error("this flow has no forces");
}

void Flow::compute_linearization(const ConstVectorRef&, std::unique_ptr<LinearizedFlow>&) {
  throw std::logic_error("this flow is for explicit methods: it offers no linearisation");
}

}  // namespace grokflow
