#include "grokflow/status.hpp"

namespace grokflow {

const char* to_string(Status status) {
  switch (status) {
    case Status::running:
      return "running";
    case Status::finished:
      return "finished";
    case Status::event:
      return "event";
    case Status::max_steps:
      return "max_steps";
    case Status::time_limit:
      return "time_limit";
    case Status::interrupted:
      return "interrupted";
    case Status::step_too_small:
      return "step_too_small";
    case Status::non_finite:
      return "non_finite";
    case Status::solver_failed:
      return "solver_failed";
    case Status::error_test_failed:
      return "error_test_failed";
    case Status::mode_unresolved:
      return "mode_unresolved";
    case Status::stationary:
      return "stationary";
    case Status::rank_change:
      return "rank_change";
    case Status::left_manifold:
      return "left_manifold";
    case Status::landed:
      return "landed";
    case Status::saddle:
      return "saddle";
    case Status::degenerate:
      return "degenerate";
    case Status::no_minimiser:
      return "no_minimiser";
  }
  return "unknown";
}

}  // namespace grokflow
