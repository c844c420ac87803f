#include "grokflow/models/measured_matrix.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "grokflow/models/balance.hpp"
#include "numerics/products.hpp"
#include "numerics/singular_values.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

const Vector& targets(const MatrixData& data) {
  if (const auto* entries = std::get_if<Entries>(&data)) return entries->values;
  return std::get<Measurements>(data).y;
}

double scale_of(const MatrixData& data) {
  return std::visit([](const auto& known) { return known.scale; }, data);
}

Index count_params(const MatrixMap& map) {
  const Block last = map.blocks().back();
  return last.begin + last.size();
}

void require_fit(const MatrixData& data, Index rows, Index cols) {
  const auto inside = [](const std::vector<Index>& indices, Index end) {
    return std::all_of(indices.begin(), indices.end(), [end](Index i) { return 0 <= i && i < end; });
  };
  if (const auto* entries = std::get_if<Entries>(&data)) {
    const auto count = static_cast<std::size_t>(entries->values.size());
    if (entries->rows.size() != count || entries->cols.size() != count || !inside(entries->rows, rows) ||
        !inside(entries->cols, cols))
      throw std::invalid_argument("entries need a row and a column of the matrix and a value each");
    return;
  }
  const auto& measured = std::get<Measurements>(data);
  if (measured.A.rows() != rows * cols || measured.A.cols() != measured.y.size())
    throw std::invalid_argument(
        "A needs one row for each entry of the matrix, and a column for each measurement");
}

}  // namespace

MeasuredMatrix::MeasuredMatrix(std::unique_ptr<MatrixMap> map, MatrixData train,
                               std::optional<MatrixData> test)
    : Problem(count_params(*map), targets(train).size(), scale_of(train)),
      map_(std::move(map)),
      train_(std::move(train)),
      test_(std::move(test)) {
  require_fit(train_, map_->rows(), map_->cols());
  if (test_) require_fit(*test_, map_->rows(), map_->cols());
  for (const Block& block : blocks()) edges_.push_back(block.begin);
  edges_.push_back(num_params());
}

/// Each factor is multiplied by what comes before and after it, and once more for the gradient.
Cost MeasuredMatrix::cost() const {
  const double n = static_cast<double>(num_residuals()), d = static_cast<double>(num_params()),
               N = static_cast<double>(map_->rows()), M = static_cast<double>(map_->cols()),
               factors = static_cast<double>(map_->blocks().size());
  const double products = 4.0 * d * (N + M);
  if (std::holds_alternative<Entries>(train_))
    return {products + 10.0 * n, products + 20.0 * n * n * factors};
  return {products + 2.0 * apply_cost(n * N * M), products + n * N * M * (4.0 * n + 2.0 * factors * (N + M))};
}

std::vector<Quantity> MeasuredMatrix::quantities() const {
  auto quantities = Problem::quantities();
  if (test_)
    quantities.push_back({"test_loss", 0, [this](const ConstVectorRef& w, VectorRef out) {
                            auto work = scratch();
                            Vector r(targets(*test_).size());
                            work->at->refill(w);
                            measure(*test_, work->at->value(), work->turned, r);
                            out[0] = 0.5 * scale_of(*test_) * (r - targets(*test_)).squaredNorm();
                          }});
  quantities.push_back({"singular_values", std::min(map_->rows(), map_->cols()),
                        [this](const ConstVectorRef& w, VectorRef out) {
                          auto work = scratch();
                          work->at->refill(w);
                          out = singular_values(work->at->value());
                        }});
  if (map_->is_chain()) quantities.push_back(balance_of(blocks()));
  return quantities;
}

Matrix MeasuredMatrix::predict(const ConstVectorRef& w) const {
  auto work = scratch();
  work->at->refill(w);
  return work->at->value();
}

WorkspacePool<MeasuredMatrix::Scratch>::Lease MeasuredMatrix::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->at = map_->make();
    fresh->sum.resize(map_->rows(), map_->cols());
    fresh->image.resize(map_->rows(), map_->cols());
    fresh->turned.resize(map_->cols(), map_->rows());
    fresh->r.resize(num_residuals());
    return fresh;
  });
}

void MeasuredMatrix::measure(const MatrixData& data, const Matrix& W, Matrix& turned, VectorRef out) {
  if (const auto* entries = std::get_if<Entries>(&data)) {
    for (Index i = 0; i < out.size(); ++i) out[i] = W(entries->rows[i], entries->cols[i]);
    return;
  }
  turned = W.transpose();
  apply_transposed(std::get<Measurements>(data).A, Eigen::Map<const Vector>(turned.data(), turned.size()),
                   out);
}

void MeasuredMatrix::combine(const ConstVectorRef& q, Scratch& work) const {
  if (const auto* entries = std::get_if<Entries>(&train_)) {
    work.sum.setZero();
    for (Index i = 0; i < q.size(); ++i) work.sum(entries->rows[i], entries->cols[i]) += q[i];
    return;
  }
  apply(std::get<Measurements>(train_).A, q, Eigen::Map<Vector>(work.turned.data(), work.turned.size()));
  work.sum = work.turned.transpose();
}

void MeasuredMatrix::residual(const ConstVectorRef& w, VectorRef out) const {
  auto work = scratch();
  work->at->refill(w);
  measure(train_, work->at->value(), work->turned, out);
  out -= targets(train_);
}

void MeasuredMatrix::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                      VectorRef out) const {
  auto work = scratch();
  work->at->refill(w);
  measure(train_, work->at->value(), work->turned, work->r);
  work->r -= targets(train_);
  outer(work->r);
  combine(work->r, *work);
  work->at->pull(work->sum, out);
}

/// W and its derivative, and sum_i c r_i A_i, at one point. Each call takes a map of its own, for it keeps memory; one
/// that is at w already has nothing to do.
class MeasuredMatrix::Here final : public Linearization {
 public:
  explicit Here(const MeasuredMatrix& model)
      : Linearization(model.num_params(), model.num_residuals()), model_(model) {}

  void refill(const ConstVectorRef& w) {
    w_ = w;
    auto work = there();
    measure(model_.train_, work->at->value(), work->turned, work->r);
    g_ = model_.scale() * (work->r - targets(model_.train_));
    model_.combine(g_, *work);
    force_ = work->sum;
  }

  const Vector* scaled_residual() const override { return &g_; }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = there();
    work->at->push(v, work->image);
    measure(model_.train_, work->image, work->turned, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override {
    auto work = there();
    model_.combine(q, *work);
    work->at->pull(work->sum, out);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = there();
    work->at->push(v, work->image);
    measure(model_.train_, work->image, work->turned, work->r);
    work->r *= model_.scale();
    model_.combine(work->r, *work);
    work->at->pull(work->sum, out);
    work->at->add_bend(force_, v, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const auto& edges = model_.edges_;
    const auto first = std::find(edges.begin(), edges.end(), begin),
               last = std::find(first, edges.end(), end);
    if (last == edges.end()) return Linearization::gram(begin, end, K);
    auto work = there();
    work->at->tabulate(first - edges.begin(), last - edges.begin());
    if (const auto* entries = std::get_if<Entries>(&model_.train_)) {
      for (Index j = 0; j < K.cols(); ++j)
        for (Index i = j; i < K.rows(); ++i)
          K(i, j) = work->at->spread(entries->rows[i], entries->cols[i], entries->rows[j], entries->cols[j]);
    } else {
      const Matrix& A = std::get<Measurements>(model_.train_).A;
      const Index N = model_.map_->rows(), M = model_.map_->cols();
      work->spread.resize(A.rows(), A.cols());
      for (Index j = 0; j < A.cols(); ++j) {
        work->sum = Eigen::Map<const Matrix>(A.col(j).data(), M, N).transpose();
        work->at->spread(work->sum, work->image);
        Eigen::Map<Matrix>(work->spread.col(j).data(), M, N) = work->image.transpose();
      }
      multiply_tn(A, work->spread, K);
    }
    mirror_lower(K);
  }

 private:
  WorkspacePool<Scratch>::Lease there() const {
    auto work = model_.scratch();
    work->at->refill(w_);
    return work;
  }

  const MeasuredMatrix& model_;
  Vector w_, g_;  // g = c r
  Matrix force_;
};

void MeasuredMatrix::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<Here>(*this);
  static_cast<Here&>(*lin).refill(w);
}

}  // namespace grokflow
