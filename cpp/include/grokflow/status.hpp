// The words for how a run ended.
#pragma once

#include "grokflow/types.hpp"

namespace grokflow {

/// The name of a status, as it is spelt in the enumeration: "running", "finished", ...
const char* to_string(Status status);

}  // namespace grokflow
