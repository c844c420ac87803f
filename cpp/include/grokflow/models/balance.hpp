// What linear layers conserve: along dw/dt = -grad F, with matrices W_1, W_2, ... that act one after the other,
// W_{l+1}^T W_{l+1} - W_l W_l^T does not change; with weight decay lam it decays as exp(-2 lam t).
#pragma once

#include <vector>

#include "grokflow/problem.hpp"

namespace grokflow {

/// "balance", the largest Frobenius norm of these differences. `layers` are matrices (out, in), in order.
Quantity balance_of(std::vector<Block> layers);

}  // namespace grokflow
