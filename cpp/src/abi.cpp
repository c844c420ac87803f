#include "grokflow/abi.hpp"

int grokflow::abi::GROKFLOW_ABI() { return 1; }
