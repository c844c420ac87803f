// All of grokflow for a program: its own problem, or a model, and the flow, the landing and the drift in one
// call each.
#pragma once

#include "grokflow/check.hpp"
#include "grokflow/functions.hpp"
#include "grokflow/models/diagonal_linear_network.hpp"
#include "grokflow/models/linear_regression.hpp"
#include "grokflow/models/matrix_completion.hpp"
#include "grokflow/models/matrix_sensing.hpp"
#include "grokflow/models/mlp.hpp"
#include "grokflow/models/two_layer_network.hpp"
#include "grokflow/penalised.hpp"
#include "grokflow/solve.hpp"
#include "grokflow/status.hpp"
#include "grokflow/threads.hpp"
#include "grokflow/version.h"
