#include "grokflow/models/samples.hpp"

#include <stdexcept>
#include <string>

namespace grokflow {
namespace {

std::string number(Index i) { return std::to_string(i); }

void require_targets(const std::string& name, const Samples& samples, Index outputs) {
  if (samples.y.size() != samples.X.rows() * outputs)
    throw std::invalid_argument(
        name + ".X has " + number(samples.X.rows()) + " rows, and y " + number(samples.y.size()) +
        " entries; each sample needs a target for each of " + number(outputs) + " outputs");
}

}  // namespace

void require_sizes(const Samples& train, const std::optional<Samples>& test, Index outputs) {
  require_targets("train", train, outputs);
  if (!test) return;
  require_targets("test", *test, outputs);
  if (test->X.cols() != train.X.cols())
    throw std::invalid_argument("test.X has " + number(test->X.cols()) + " features; train.X has " +
                                number(train.X.cols()));
}

}  // namespace grokflow
