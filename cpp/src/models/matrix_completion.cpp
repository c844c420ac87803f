#include "grokflow/models/matrix_completion.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "numerics/products.hpp"

namespace grokflow {
namespace {

/// Entries by products of whole matrices take as long as one by one where one in so many is wanted.
constexpr Index kRate = 6;

void require_entries(const Entries& entries, Index num_rows, Index num_cols) {
  const std::size_t count = static_cast<std::size_t>(entries.values.size());
  if (entries.rows.size() != count || entries.cols.size() != count)
    throw std::invalid_argument("entries need a row, a column and a value each");
  const auto outside = [](const std::vector<Index>& indices, Index end) {
    return std::any_of(indices.begin(), indices.end(), [end](Index i) { return i < 0 || i >= end; });
  };
  if (outside(entries.rows, num_rows) || outside(entries.cols, num_cols))
    throw std::invalid_argument("an entry lies outside of the matrix of " + std::to_string(num_rows) + " x " +
                                std::to_string(num_cols));
}

}  // namespace

MatrixCompletion::MatrixCompletion(Entries train, std::optional<Entries> test, Index num_rows, Index num_cols,
                                   Index width)
    : Problem((num_rows + num_cols) * width, train.values.size(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      num_rows_(num_rows),
      num_cols_(num_cols),
      width_(width),
      whole_(kRate * num_residuals() >= num_rows * num_cols),
      row_lines_(num_rows),
      col_lines_(num_cols) {
  require_entries(train_, num_rows, num_cols);
  if (test_) require_entries(*test_, num_rows, num_cols);
  for (Index e = 0; e < num_residuals(); ++e) {
    Line &row = row_lines_[train_.rows[e]], &col = col_lines_[train_.cols[e]];
    row.entries.push_back(e);
    row.others.push_back(train_.cols[e]);
    col.entries.push_back(e);
    col.others.push_back(train_.rows[e]);
  }
}

/// From entry to entry the rate is a small part of that of a product of matrices.
Cost MatrixCompletion::cost() const {
  const double n = static_cast<double>(num_residuals()), width = static_cast<double>(width_);
  const double whole = static_cast<double>(num_rows_ * num_cols_);
  return {whole_ ? 6.0 * whole * width + 40.0 * n : 100.0 * n * width, 25.0 * n * n};
}

std::vector<Block> MatrixCompletion::blocks() const {
  return {{"U", 0, {num_rows_, width_}}, {"V", num_rows_ * width_, {num_cols_, width_}}};
}

std::vector<Quantity> MatrixCompletion::quantities() const {
  auto quantities = Problem::quantities();
  if (test_)
    quantities.push_back({"test_loss", 0, [this](const ConstVectorRef& w, VectorRef out) {
                            Vector r(test_->values.size());
                            misfit(*test_, w, r);
                            out[0] = 0.5 * test_->scale * r.squaredNorm();
                          }});
  quantities.push_back(
      {"singular_values", std::min({num_rows_, num_cols_, width_}),
       [this](const ConstVectorRef& w, VectorRef out) { singular_values(U(w), V(w), out); }});
  return quantities;
}

Matrix MatrixCompletion::predict(const ConstVectorRef& w) const {
  Matrix out(num_rows_, num_cols_);
  multiply_tn(U(w), V(w), out);
  return out;
}

WorkspacePool<MatrixCompletion::Scratch>::Lease MatrixCompletion::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->r.resize(num_residuals());
    if (whole_) fresh->product.resize(num_rows_, num_cols_);
    return fresh;
  });
}

void MatrixCompletion::misfit(const Entries& entries, const ConstVectorRef& w, VectorRef out) const {
  const Factor U = this->U(w), V = this->V(w);
  for (Index e = 0; e < out.size(); ++e)
    out[e] = U.col(entries.rows[e]).dot(V.col(entries.cols[e])) - entries.values[e];
}

void MatrixCompletion::residual(const ConstVectorRef& w, VectorRef out) const {
  if (!whole_) return misfit(train_, w, out);
  auto work = scratch();
  multiply_tn(U(w), V(w), work->product);
  pick(work->product, out);
  out -= train_.values;
}

double MatrixCompletion::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  residual(w, work->r);
  return 0.5 * scale() * work->r.squaredNorm();
}

void MatrixCompletion::gradient_through(const ConstVectorRef& w, const OnResiduals& outer,
                                        VectorRef out) const {
  auto work = scratch();
  residual(w, work->r);
  outer(work->r);
  out.setZero();
  add_pulled(work->r, w, out);
}

void MatrixCompletion::pick(const Matrix& product, VectorRef out) const {
  for (Index e = 0; e < out.size(); ++e) out[e] = product(train_.rows[e], train_.cols[e]);
}

void MatrixCompletion::add_pulled(const ConstVectorRef& q, const ConstVectorRef& w, VectorRef out) const {
  const Factor U = this->U(w), V = this->V(w);
  FactorOut dU(out.data(), width_, num_rows_), dV(out.data() + width_ * num_rows_, width_, num_cols_);
  if (whole_) {
    auto work = scratch();
    Matrix& Q = work->product;
    Q.setZero();
    for (Index e = 0; e < q.size(); ++e) Q(train_.rows[e], train_.cols[e]) = q[e];
    add_product_nt(V, Q, dU);
    add_product(U, Q, dV);
    return;
  }
  for (Index e = 0; e < q.size(); ++e) {
    const Index i = train_.rows[e], j = train_.cols[e];
    dU.col(i) += q[e] * V.col(j);
    dV.col(j) += q[e] * U.col(i);
  }
}

/// w and g = c r at one point.
class MatrixCompletion::At final : public Linearization {
 public:
  explicit At(const MatrixCompletion& model)
      : Linearization(model.num_params(), model.num_residuals()), model_(model), g_(model.num_residuals()) {}

  void refill(const ConstVectorRef& w) {
    w_ = w;
    model_.residual(w, g_);
    g_ *= model_.scale();
  }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    const Factor U = model_.U(w_), V = model_.V(w_), dU = model_.U(v), dV = model_.V(v);
    if (model_.whole_) {
      auto work = model_.scratch();
      multiply_tn(dU, V, work->product);
      add_product_tn(U, dV, work->product);
      return model_.pick(work->product, out);
    }
    for (Index e = 0; e < out.size(); ++e) {
      const Index i = rows()[e], j = cols()[e];
      out[e] = dU.col(i).dot(V.col(j)) + U.col(i).dot(dV.col(j));
    }
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override {
    out.setZero();
    model_.add_pulled(q, w_, out);
  }

  const Vector* scaled_residual() const override { return &g_; }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index half = model_.num_rows_ * model_.width_, d = num_params();
    for (Index edge : {begin, end})
      if (edge != 0 && edge != half && edge != d) return Linearization::gram(begin, end, K);
    auto work = model_.scratch();
    K.setZero();
    if (begin == 0 && end >= half) add_inner_products(model_.V(w_), model_.row_lines_, work->table, K);
    if (begin <= half && end == d) add_inner_products(model_.U(w_), model_.col_lines_, work->table, K);
  }

  /// J^T g is linear in w.
  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = model_.scratch();
    jvp(v, work->r);
    work->r *= model_.scale();
    vjp(work->r, out);
    model_.add_pulled(g_, v, out);
  }

  void hessian(MatrixRef H) const override {
    const Index width = model_.width_, half = model_.num_rows_ * width;
    const Factor U = model_.U(w_), V = model_.V(w_);
    const double c = model_.scale();
    H.setZero();
    for (Index e = 0; e < g_.size(); ++e) {
      const Index i = rows()[e], j = cols()[e], u = i * width, v = half + j * width;
      H.block(u, u, width, width).noalias() += c * V.col(j) * V.col(j).transpose();
      H.block(v, v, width, width).noalias() += c * U.col(i) * U.col(i).transpose();
      H.block(u, v, width, width).noalias() += c * V.col(j) * U.col(i).transpose();
      H.block(u, v, width, width).diagonal().array() += g_[e];
      H.block(v, u, width, width) = H.block(u, v, width, width).transpose();  // no entry occurs twice
    }
  }

 private:
  const std::vector<Index>& rows() const { return model_.train_.rows; }
  const std::vector<Index>& cols() const { return model_.train_.cols; }

  /// K_{ef} += <F_{other(e)}, F_{other(f)}> for all pairs e, f on the same line. All inner products are
  /// tabulated first, unless the table would outgrow K.
  static void add_inner_products(const Factor& F, const std::vector<Line>& lines, Matrix& table,
                                 MatrixRef K) {
    const bool tabulate = F.cols() <= K.cols();
    if (tabulate) {
      table.resize(F.cols(), F.cols());
      multiply_tn(F, F, table);
    }
    for (const Line& line : lines)
      for (std::size_t f = 0; f < line.entries.size(); ++f) {
        auto column = K.col(line.entries[f]);
        const Index other = line.others[f];
        for (std::size_t e = 0; e < line.entries.size(); ++e)
          column[line.entries[e]] +=
              tabulate ? table(line.others[e], other) : F.col(line.others[e]).dot(F.col(other));
      }
  }

  const MatrixCompletion& model_;
  Vector w_, g_;
};

void MatrixCompletion::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

/// sum_e ||U_i||^2 + ||V_j||^2, (i, j) the entry e
double MatrixCompletion::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  const Factor U = this->U(w), V = this->V(w);
  FactorOut dU(gradient.data(), width_, num_rows_),
      dV(gradient.data() + width_ * num_rows_, width_, num_cols_);
  gradient.setZero();
  for (Index e = 0; e < num_residuals(); ++e) {
    dU.col(train_.rows[e]) += U.col(train_.rows[e]);
    dV.col(train_.cols[e]) += V.col(train_.cols[e]);
  }
  const double trace = gradient.dot(w);
  gradient *= 2.0;
  return trace;
}

}  // namespace grokflow
