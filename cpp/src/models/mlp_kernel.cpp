// The tangent kernel of a multi-layer perceptron, and its trace; see models/mlp.hpp for K. With rows (i, k)
// for sample i and output k, and s_l(i) = ||a_{l-1,i}||^2 + 1,
//
//   tr K = sum_l sum_ik s_l(i) ||B_l(ik)||^2.
//
// Its gradient runs over the network once more in both directions. Up, the adjoints of the B, with
// S_l = B_l W_l and C_l = Bbar_{l-1} o A'_{l-1}:
//
//   Bbar_l = 2 s_l B_l + C_l W_l^T,   Wbar_l = B_l^T C_l,   A'bar_{l-1}(i) = sum_k (Bbar_{l-1} o S_l)(ik),
//
// and down, those of the forward pass:
//
//   Abar_l(i) = 2 a_l(i) sum_k ||B_{l+1}(ik)||^2 + Zbar_{l+1} W_{l+1},
//   Zbar_l = A'_l o Abar_l + A''_l o A'bar_l.
#include "mlp_linearization.hpp"
#include "numerics/parallel.hpp"
#include "numerics/products.hpp"
#include "numerics/symmetric.hpp"

namespace grokflow {
namespace {

/// B(io + k) = e_k, for each of the n samples.
void set_unit_rows(Index outputs, MatrixRef B) {
  for (Index j = 0; j < outputs; ++j)
    for (Index i = 0; i < B.rows(); ++i) B(i, j) = i % outputs == j;
}

/// B <- A' o B, where a row of A' counts for each output of its sample.
template <class A1, class B>
void scale_rows(const A1& slopes, Index outputs, B&& rows) {
  if (outputs == 1) {
    rows.array() *= slopes.array();
    return;
  }
  for (Index j = 0; j < rows.cols(); ++j)
    for (Index i = 0; i < slopes.rows(); ++i) rows.col(j).segment(i * outputs, outputs) *= slopes(i, j);
}

/// The sum over the outputs of each sample.
Matrix sum_outputs(const Matrix& rows, Index outputs) {
  Matrix sums(rows.rows() / outputs, rows.cols());
  for (Index j = 0; j < rows.cols(); ++j)
    sums.col(j) =
        Eigen::Map<const Matrix>(rows.col(j).data(), outputs, sums.rows()).colwise().sum().transpose();
  return sums;
}

}  // namespace

void MLPLinearization::gram(Index begin, Index end, MatrixRef K) const {
  const Index last = net_.hidden(), n = net_.train_.X.rows(), outputs = net_.num_outputs();
  const auto has = [&](Index first, Index size) { return begin <= first && first + size <= end; };
  const auto cuts = [&](Index first, Index size) {  // begins or ends inside
    return (first < begin && begin < first + size) || (first < end && end < first + size);
  };
  for (Index l = 0; l <= last; ++l) {
    const MLP::Layer& layer = net_.layer(l);
    if (cuts(layer.W, layer.in * layer.out) || (layer.bias && cuts(layer.b, layer.out)))
      return Linearization::gram(begin, end, K);
  }

  auto work = net_.scratch();
  Index above = 0, here = 1;
  for_lower_tiles(K.rows(), 1, parallel::kTriangle, [&](const Tile& t) { t.of(K).setZero(); });
  for (Index l = last; l >= 0; --l) {
    const MLP::Layer& layer = net_.layer(l);
    if (layer.b + layer.out <= begin) break;  // nor does any layer below count
    Map B = work->E[here].matrix(n * outputs, layer.out);
    if (l == last) {
      set_unit_rows(outputs, B);
    } else {
      const MLP::Layer& next = net_.layer(l + 1);
      const Map from = work->E[above].matrix(n * outputs, next.out);
      const Matrix& A1 = MLP::at(pass_.A1, l);
      for_tiles(n, layer.out, outputs * next.out, [&](const Tile& t) {
        auto rows = B.block(t.row * outputs, t.col, t.rows * outputs, t.cols);
        multiply_nt(from.middleRows(t.row * outputs, t.rows * outputs),
                    net_.weights(w_, l + 1).middleRows(t.col, t.cols), rows);
        scale_rows(t.of(A1), outputs, rows);
      });
    }
    const bool has_W = has(layer.W, layer.in * layer.out), has_b = layer.bias && has(layer.b, layer.out);
    if (has_W || has_b) add_layer(l, has_W, has_b, B, K);
    std::swap(above, here);
  }
  mirror_lower(K);
}

Cost MLP::cost() const {
  const double samples = static_cast<double>(train_.X.rows()), outputs = static_cast<double>(num_outputs());
  double back = 0.0, products = 0.0;  // per sample, and per pair of them
  for (Index l = 0; l <= hidden(); ++l) {
    const double in = static_cast<double>(layer(l).in), out = static_cast<double>(layer(l).out);
    if (l > 0 && l < hidden()) back += 2.0 * outputs * in * out;
    products += in + (l < hidden() ? outputs * outputs * out : 0.0);
  }
  return {6.0 * samples * static_cast<double>(num_params()), samples * (back + samples * products)};
}

void MLPLinearization::add_layer(Index l, double weight, double offset, const Map& B, MatrixRef K) const {
  const Index outputs = net_.num_outputs();
  const Matrix& A = net_.input(pass_, l);
  const Index depth = outputs * outputs * B.cols() + A.cols();
  for_lower_tiles(A.rows(), depth, std::max<Index>(parallel::kTriangle / outputs, 8), [&](const Tile& t) {
    auto products = net_.products_.borrow([] { return std::make_unique<MLP::Products>(); });
    Map S = products->inputs.matrix(t.rows, t.cols);
    const Tile of_rows{t.row * outputs, t.rows * outputs, t.col * outputs, t.cols * outputs};
    Map R = products->rows.matrix(of_rows.rows, of_rows.cols);
    if (weight == 0.0)
      S.setConstant(offset);
    else
      gram_tile(A, t, S);
    if (weight != 0.0 && offset != 0.0) S.array() += offset;
    gram_tile(B, of_rows, R);
    auto out = of_rows.of(K);
    if (outputs == 1) {
      out += S.cwiseProduct(R);
      return;
    }
    for (Index j = 0; j < R.cols(); ++j)
      for (Index i = 0; i < S.rows(); ++i)
        out.col(j).segment(i * outputs, outputs) +=
            S(i, j / outputs) * R.col(j).segment(i * outputs, outputs);
  });
}

double MLP::kernel_trace(const ConstVectorRef& w, VectorRef gradient) const {
  const Index last = hidden(), n = train_.X.rows(), outputs = num_outputs();
  Pass pass;
  forward(w, 2, pass);
  std::vector<Matrix> B(layers_.size()), bar(layers_.size()), slope(layers_.size());  // B_l, Bbar_l, A'bar_l
  at(B, last).resize(n * outputs, outputs);
  set_unit_rows(outputs, at(B, last));
  for (Index l = last; l > 0; --l) {
    at(B, l - 1).resize(n * outputs, layer(l).in);
    multiply_nt(at(B, l), weights(w, l), at(B, l - 1));
    scale_rows(at(pass.A1, l - 1), outputs, at(B, l - 1));
  }

  double trace = 0.0;
  Matrix C, S;
  for (Index l = 0; l <= last; ++l) {
    const Vector sizes = input(pass, l).rowwise().squaredNorm().array() + (layer(l).bias ? 1.0 : 0.0);
    at(bar, l) = 2.0 * at(B, l);
    scale_rows(sizes.replicate(1, layer(l).out), outputs, at(bar, l));
    trace += 0.5 * at(bar, l).cwiseProduct(at(B, l)).sum();
    weights(gradient, l).setZero();
    if (layer(l).bias) gradient.segment(layer(l).b, layer(l).out).setZero();
    if (l == 0) continue;
    S.resize(n * outputs, layer(l).in);
    multiply_nt(at(B, l), weights(w, l), S);
    at(slope, l - 1) = sum_outputs(at(bar, l - 1).cwiseProduct(S), outputs);
    C = at(bar, l - 1);
    scale_rows(at(pass.A1, l - 1), outputs, C);
    add_product(C, weights(w, l), at(bar, l));
    add_product_tn(C, at(B, l), weights(gradient, l));
  }

  Matrix below;  // Zbar_{l+1} W_{l+1}
  for (Index l = last - 1; l >= 0; --l) {
    const Matrix sizes = sum_outputs(at(B, l + 1).rowwise().squaredNorm(), outputs);
    Matrix bar_A = 2.0 * (sizes.col(0).asDiagonal() * at(pass.A, l));
    if (l < last - 1) bar_A += below;
    const Matrix bar_Z = at(pass.A1, l).cwiseProduct(bar_A) + at(pass.A2, l).cwiseProduct(at(slope, l));
    add_product_tn(input(pass, l), bar_Z, weights(gradient, l));
    if (layer(l).bias) gradient.segment(layer(l).b, layer(l).out) += bar_Z.colwise().sum().transpose();
    below.resize(n, layer(l).in);
    multiply_nt(bar_Z, weights(w, l), below);
  }
  return trace;
}

}  // namespace grokflow
