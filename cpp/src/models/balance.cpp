#include "grokflow/models/balance.hpp"

#include <algorithm>
#include <utility>

#include "numerics/products.hpp"

namespace grokflow {

Quantity balance_of(std::vector<Block> layers) {
  const auto evaluate = [layers = std::move(layers)](const ConstVectorRef& w, VectorRef out) {
    const auto transposed = [&w](const Block& layer) {
      return Eigen::Map<const Matrix>(w.data() + layer.begin, layer.shape[1], layer.shape[0]);
    };
    out[0] = 0.0;
    for (std::size_t l = 0; l + 1 < layers.size(); ++l) {
      const auto before = transposed(layers[l]), after = transposed(layers[l + 1]);
      Matrix difference(after.rows(), after.rows());
      multiply_nt(after, after, difference);
      add_product_tn(before, before, difference, -1.0);
      out[0] = std::max(out[0], difference.norm());
    }
  };
  return {"balance", 0, evaluate};
}

}  // namespace grokflow
