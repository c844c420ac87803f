// A loss of outputs times a factor a: g of f is a times that of a f, and so is B, with the same rho.
#include <cmath>
#include <utility>

#include "grokflow/loss.hpp"

namespace grokflow {
namespace {

class Scaled final : public Loss {
 public:
  Scaled(std::shared_ptr<const Loss> loss, double factor)
      : Loss(*loss), loss_(std::move(loss)), factor_(factor) {}

  bool attained() const override { return loss_->attained(); }
  bool is_certain() const override { return loss_->is_certain(); }
  bool is_quadratic() const override { return loss_->is_quadratic(); }

  double value(const ConstVectorRef& f) const override { return loss_->value(factor_ * f); }
  void gradient(VectorRef f) const override {
    f *= factor_;
    loss_->gradient(f);
    f *= factor_;
  }
  bool faint_gradient(VectorRef f) const override {
    f *= factor_;
    const bool any = loss_->faint_gradient(f);
    f *= factor_;
    return any;
  }

  void felt_by_others(const ConstVectorRef& f, VectorRef x) const override {
    loss_->felt_by_others(factor_ * f, x);
  }
  bool push_faint(const ConstVectorRef& f, const ConstVectorRef& x, double slack, double push,
                  VectorRef force) const override {
    force /= factor_;
    const bool any = loss_->push_faint(factor_ * f, factor_ * x, std::abs(factor_) * slack,
                                       push / std::abs(factor_), force);
    force *= factor_;
    return any;
  }

  Index factor_size() const override { return loss_->factor_size(); }
  void factor(const ConstVectorRef& f, VectorRef rho, VectorRef B) const override {
    loss_->factor(factor_ * f, rho, B);
  }
  void apply(const ConstVectorRef& B, const ConstVectorRef& u, VectorRef x) const override {
    loss_->apply(B, u, x);
    x *= factor_;
  }
  void apply_transposed(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    loss_->apply_transposed(B, x, u);
    u *= factor_;
  }
  void solve(const ConstVectorRef& B, const ConstVectorRef& x, VectorRef u) const override {
    loss_->solve(B, x, u);
    u /= factor_;
  }
  void hessian(const ConstVectorRef& B, VectorRef u, VectorRef x) const override {
    loss_->hessian(B, u, x);
    x *= factor_ * factor_;
  }

 private:
  std::shared_ptr<const Loss> loss_;
  double factor_;
};

}  // namespace

std::unique_ptr<Loss> of_scaled_outputs(std::shared_ptr<const Loss> loss, double factor) {
  return std::make_unique<Scaled>(std::move(loss), factor);
}

}  // namespace grokflow
