#pragma once

#include <string>
#include <utility>
#include <vector>

#include "grokflow/output_problem.hpp"

namespace grokflow {

/// A loss on top of a piece: modes are those of the piece, forces those of the loss.
class OutputPiece final : public Piece {
 public:
  OutputPiece(std::shared_ptr<Piece> outputs, std::shared_ptr<const Loss> loss, double scale)
      : Piece(outputs->num_params(), loss->attained() ? loss->num_residuals() : 0, scale),
        outputs_(std::move(outputs)),
        loss_(std::move(loss)),
        whole_({outputs_, loss_, scale}),
        f_(loss_->num_outputs()),
        rho_(loss_->num_residuals()),
        B_(loss_->factor_size()) {
    mode_ = outputs_->mode();
  }

  bool has_hvp() const override { return true; }
  bool attained() const override { return whole_.attained(); }
  Cost cost() const override { return whole_.cost(); }
  void residual(const ConstVectorRef& w, VectorRef out) const override { whole_.residual(w, out); }
  double loss(const ConstVectorRef& w) const override { return whole_.loss(w); }
  void gradient(const ConstVectorRef& w, VectorRef out) const override { whole_.gradient(w, out); }
  bool faint_gradient(const ConstVectorRef& w, VectorRef out) const override {
    return whole_.faint_gradient(w, out);
  }
  void linearize(const ConstVectorRef& w, std::unique_ptr<Linearization>& lin) const override {
    whole_.linearize(w, lin);
  }
  std::vector<Block> blocks() const override { return whole_.blocks(); }

  Index num_forces() const override { return f_.size(); }
  Index num_rows() const override { return rho_.size(); }
  void slopes(const ConstVectorRef& w, VectorRef out) const override {
    outputs_->residual(w, out);
    loss_->gradient(out);
  }
  void to_rows(const ConstVectorRef& w, const ConstVectorRef& force, VectorRef rows) const override {
    factor(w);
    loss_->solve(B_, force, rows);
  }
  void from_rows(const ConstVectorRef& w, const ConstVectorRef& rows, VectorRef force) const override {
    factor(w);
    loss_->apply(B_, rows, force);
  }

  Index num_units() const override { return outputs_->num_units(); }
  Index num_surfaces() const override { return outputs_->num_surfaces(); }
  Index num_sliding() const override { return outputs_->num_sliding(); }
  void enter(Index unit, const signed char* sides) override {
    outputs_->enter(unit, sides);
    mode_.col(unit) = outputs_->mode().col(unit);
  }
  void decay_by(std::function<double(double t)> factor) override { outputs_->decay_by(std::move(factor)); }
  void set_time(double t) override { outputs_->set_time(t); }
  double decay_factor() const override { return outputs_->decay_factor(); }
  void distances(const ConstVectorRef& w, MatrixRef out) const override { outputs_->distances(w, out); }
  void sizes(const ConstVectorRef& w, VectorRef out) const override { outputs_->sizes(w, out); }
  void gains(const ConstVectorRef& w, VectorRef out) const override { outputs_->gains(w, out); }
  void project(VectorRef v) const override { outputs_->project(v); }
  void hold(VectorRef w) const override { outputs_->hold(w); }
  std::shared_ptr<const Decay::Slants> slants() const override { return outputs_->slants(); }
  std::shared_ptr<const Vector> tilt() const override { return outputs_->tilt(); }
  void lean(const Decay& decay) override { outputs_->lean(decay); }
  void multipliers(const ConstVectorRef& signs, const ConstVectorRef& w, const ConstVectorRef& force,
                   VectorRef low, VectorRef high) const override {
    outputs_->multipliers(signs, w, force, low, high);
  }
  void kinks(double sign, const ConstVectorRef& w, const ConstVectorRef& force, Index unit,
             const std::vector<Index>& surfaces, Kinks& kinks) const override {
    outputs_->kinks(sign, w, force, unit, surfaces, kinks);
  }
  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef w) const override {
    return outputs_->snap(unit, surfaces, w);
  }
  Index sample(Index surface) const override { return outputs_->sample(surface); }
  std::string describe(Index unit, const std::vector<Index>& surfaces) const override {
    return outputs_->describe(unit, surfaces);
  }

 private:
  void factor(const ConstVectorRef& w) const {
    outputs_->residual(w, f_);
    loss_->factor(f_, rho_, B_);
  }

  std::shared_ptr<Piece> outputs_;
  std::shared_ptr<const Loss> loss_;
  OutputProblem whole_;
  mutable Vector f_, rho_, B_;  // scratch: a piece serves one run
};

}  // namespace grokflow
