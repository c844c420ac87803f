#include "grokflow/models/matrix_sensing.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "grokflow/models/matrix_completion.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {

MatrixSensing::MatrixSensing(Measurements train, std::optional<Measurements> test, Index num_rows,
                             Index num_cols, Index width)
    : Problem((num_rows + num_cols) * width, train.y.size(), train.scale),
      train_(std::move(train)),
      test_(std::move(test)),
      num_rows_(num_rows),
      num_cols_(num_cols),
      width_(width) {
  for (const Measurements* measured : {&train_, test_ ? &*test_ : nullptr})
    if (measured && (measured->A.rows() != num_rows * num_cols || measured->A.cols() != measured->y.size()))
      throw std::invalid_argument("A needs " + std::to_string(num_rows * num_cols) +
                                  " rows, and a column for each measurement");
}

/// Twice through the A_i; and K by the cheaper formula, at half the rate.
Cost MatrixSensing::cost() const {
  const double n = static_cast<double>(num_residuals()), d = static_cast<double>(num_params()),
               entries = static_cast<double>(num_rows_ * num_cols_), width = static_cast<double>(width_),
               sides = static_cast<double>(num_rows_ + num_cols_);
  const double by_factors = n * (4.0 * entries * width + n * d), by_product = n * entries * (2.0 * sides + n);
  return {2.0 * apply_cost(n * entries), 2.0 * std::min(by_factors, by_product)};
}

std::vector<Block> MatrixSensing::blocks() const {
  return {{"U", 0, {num_rows_, width_}}, {"V", num_rows_ * width_, {num_cols_, width_}}};
}

std::vector<Quantity> MatrixSensing::quantities() const {
  auto quantities = Problem::quantities();
  if (test_)
    quantities.push_back({"test_loss", 0, [this](const ConstVectorRef& w, VectorRef out) {
                            Vector r(test_->y.size());
                            Matrix product(num_cols_, num_rows_);
                            multiply_tn(V(w), U(w), product);
                            measure(test_->A, product, r);
                            out[0] = 0.5 * test_->scale * (r - test_->y).squaredNorm();
                          }});
  quantities.push_back(
      {"singular_values", std::min({num_rows_, num_cols_, width_}),
       [this](const ConstVectorRef& w, VectorRef out) { singular_values(U(w), V(w), out); }});
  return quantities;
}

Matrix MatrixSensing::predict(const ConstVectorRef& w) const {
  Matrix out(num_rows_, num_cols_);
  multiply_tn(U(w), V(w), out);
  return out;
}

WorkspacePool<MatrixSensing::Scratch>::Lease MatrixSensing::scratch() const {
  return pool_.borrow([this] {
    auto fresh = std::make_unique<Scratch>();
    fresh->product.resize(num_cols_, num_rows_);
    fresh->sum.resize(num_cols_, num_rows_);
    fresh->r.resize(num_residuals());
    return fresh;
  });
}

void MatrixSensing::measure(const Matrix& A, const Matrix& product, VectorRef out) {
  const Eigen::Map<const Vector> flat(product.data(), product.size());
  for_tiles(out.size(), 1, flat.size(), [&](const Tile& t) {
    apply_transposed(A.middleCols(t.row, t.rows), flat, out.segment(t.row, t.rows));
  });
}

void MatrixSensing::combine(const ConstVectorRef& q, Matrix& sum) const {
  Eigen::Map<Vector> flat(sum.data(), sum.size());
  for_tiles(flat.size(), 1, q.size(), [&](const Tile& t) {
    apply(train_.A.middleRows(t.row, t.rows), q, flat.segment(t.row, t.rows));
  });
}

void MatrixSensing::add_images(const Matrix& sum, const ConstVectorRef& w, VectorRef out) const {
  add_product(V(w), sum, U(out));
  add_product_nt(U(w), sum, V(out));
}

void MatrixSensing::residual(const ConstVectorRef& w, VectorRef out) const {
  auto work = scratch();
  multiply_tn(V(w), U(w), work->product);
  measure(train_.A, work->product, out);
  out -= train_.y;
}

double MatrixSensing::loss(const ConstVectorRef& w) const {
  auto work = scratch();
  residual(w, work->r);
  return 0.5 * scale() * work->r.squaredNorm();
}

void MatrixSensing::gradient(const ConstVectorRef& w, VectorRef out) const {
  auto work = scratch();
  residual(w, work->r);
  work->r *= scale();
  combine(work->r, work->sum);
  out.setZero();
  add_images(work->sum, w, out);
}

/// w, and G^T for c r, at one point.
class MatrixSensing::At final : public Linearization {
 public:
  explicit At(const MatrixSensing& model)
      : Linearization(model.num_params(), model.num_residuals()),
        model_(model),
        sum_(model.num_cols_, model.num_rows_) {}

  void refill(const ConstVectorRef& w) {
    w_ = w;
    g_.resize(num_residuals());
    model_.residual(w, g_);
    g_ *= model_.scale();
    model_.combine(g_, sum_);
  }

  const Vector* scaled_residual() const override { return &g_; }

  void jvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = model_.scratch();
    multiply_tn(model_.V(w_), model_.U(v), work->product);
    add_product_tn(model_.V(v), model_.U(w_), work->product);
    measure(model_.train_.A, work->product, out);
  }

  void vjp(const ConstVectorRef& q, VectorRef out) const override {
    auto work = model_.scratch();
    model_.combine(q, work->sum);
    out.setZero();
    model_.add_images(work->sum, w_, out);
  }

  void gram(Index begin, Index end, MatrixRef K) const override {
    const Index half = model_.num_rows_ * model_.width_, d = num_params();
    for (const Index edge : {begin, end})
      if (edge != 0 && edge != half && edge != d) return Linearization::gram(begin, end, K);
    const bool has_U = begin == 0 && end >= half, has_V = begin <= half && end == d;
    auto work = model_.scratch();
    K.setZero();
    if (d > model_.num_rows_ * model_.num_cols_) {
      fold(has_U, has_V, *work);
      add_products(work->left, model_.train_.A, K);
    } else {
      if (has_U) {
        images(model_.num_rows_, work->left,
               [&](Index i, FactorOut out) { multiply(model_.V(w_), model_.transposed(i), out); });
        add_products(work->left, work->left, K);
      }
      if (has_V) {
        images(model_.num_cols_, work->right,
               [&](Index i, FactorOut out) { multiply_nt(model_.U(w_), model_.transposed(i), out); });
        add_products(work->right, work->right, K);
      }
    }
    mirror_lower(K);
  }

  void hvp(const ConstVectorRef& v, VectorRef out) const override {
    auto work = model_.scratch();
    jvp(v, work->r);
    work->r *= model_.scale();
    vjp(work->r, out);
    model_.add_images(sum_, v, out);
  }

 private:
  /// Columns written by image(i, out), each width x `lines`.
  template <class Image>
  void images(Index lines, Matrix& out, Image&& image) const {
    const Index n = num_residuals(), width = model_.width_;
    out.resize(width * lines, n);
    const double flops = 2.0 * static_cast<double>(n * width) * static_cast<double>(sum_.size());
    parallel_for(n, flops, [&](Index i) { image(i, FactorOut(out.col(i).data(), width, lines)); });
  }

  /// Columns V V^T A_i^T + A_i^T U U^T, of which the gradient by U gives the first and that by V the second.
  void fold(bool has_U, bool has_V, Scratch& work) const {
    const Index n = num_residuals(), N = model_.num_rows_, M = model_.num_cols_;
    work.UU.resize(N, N);
    work.VV.resize(M, M);
    multiply_tn(model_.U(w_), model_.U(w_), work.UU);
    multiply_tn(model_.V(w_), model_.V(w_), work.VV);
    work.left.setZero(N * M, n);
    const double flops = 2.0 * static_cast<double>(n * N) * static_cast<double>(M * (N + M));
    parallel_for(n, flops, [&](Index i) {
      FactorOut folded(work.left.col(i).data(), M, N);
      if (has_U) add_product(work.VV, model_.transposed(i), folded);
      if (has_V) add_product(model_.transposed(i), work.UU, folded);
    });
  }

  /// K += left^T right, on and below the diagonal.
  static void add_products(const Matrix& left, const Matrix& right, MatrixRef K) {
    for_lower_tiles(K.rows(), left.rows(), parallel::kTriangle, [&](const Tile& t) {
      add_product_tn(left.middleCols(t.row, t.rows), right.middleCols(t.col, t.cols), t.of(K));
    });
  }

  const MatrixSensing& model_;
  Vector w_, g_;  // g = c r
  Matrix sum_;
};

void MatrixSensing::linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const {
  if (!lin) lin = std::make_unique<At>(*this);
  static_cast<At&>(*lin).refill(w);
}

/// sum_i ||A_i V||^2 + ||A_i^T U||^2
double MatrixSensing::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  gradient.setZero();
  Matrix AV(width_, num_rows_), AU(width_, num_cols_);
  for (Index i = 0; i < num_residuals(); ++i) {
    multiply(V(w), transposed(i), AV);
    multiply_nt(U(w), transposed(i), AU);
    add_product_nt(AV, transposed(i), V(gradient));
    add_product(AU, transposed(i), U(gradient));
  }
  const double trace = gradient.dot(w);
  gradient *= 2.0;
  return trace;
}

}  // namespace grokflow
