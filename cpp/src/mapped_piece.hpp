#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grokflow/block_map.hpp"

namespace grokflow {

/// A piece in fewer parameters, among them some that its surfaces bound: these stretches.
class MappedProblem::InMode final : public Piece {
 public:
  InMode(const MappedProblem& problem, std::vector<BlockMap::Stretch> bound, std::shared_ptr<Piece> piece)
      : Piece(problem.num_params(), piece->num_residuals(), piece->scale()),
        piece_(std::move(piece)),
        whole_(piece_, problem.map_),
        bound_(std::move(bound)),
        slants_(piece_->slants() ? std::make_shared<Decay::Slants>() : nullptr),
        tilt_(piece_->tilt() ? std::make_shared<Vector>(Vector::Zero(num_params())) : nullptr),
        w_(problem.map_.num_outer()) {
    mode_ = piece_->mode();
  }

  bool has_hvp() const override { return piece_->has_hvp(); }
  bool has_forces() const override { return piece_->has_forces(); }
  bool attained() const override { return piece_->attained(); }
  Cost cost() const override { return whole_.cost(); }
  std::vector<Block> blocks() const override { return whole_.blocks(); }
  void residual(const ConstVectorRef& v, VectorRef out) const override { whole_.residual(v, out); }
  double loss(const ConstVectorRef& v) const override { return whole_.loss(v); }
  void gradient(const ConstVectorRef& v, VectorRef out) const override { whole_.gradient(v, out); }
  void linearize(const ConstVectorRef& v, std::unique_ptr<Linearization>& lin) const override {
    whole_.linearize(v, lin);
  }

  Index num_forces() const override { return piece_->num_forces(); }
  Index num_rows() const override { return piece_->num_rows(); }
  void slopes(const ConstVectorRef& v, VectorRef out) const override { piece_->slopes(at(v), out); }
  void to_rows(const ConstVectorRef& v, const ConstVectorRef& force, VectorRef rows) const override {
    piece_->to_rows(at(v), force, rows);
  }
  void from_rows(const ConstVectorRef& v, const ConstVectorRef& rows, VectorRef force) const override {
    piece_->from_rows(at(v), rows, force);
  }

  Index num_units() const override { return piece_->num_units(); }
  Index num_surfaces() const override { return piece_->num_surfaces(); }
  Index num_sliding() const override { return piece_->num_sliding(); }
  void enter(Index unit, const signed char* sides) override {
    piece_->enter(unit, sides);
    mode_.col(unit) = piece_->mode().col(unit);
    if (tilt_) take(*piece_->tilt(), *tilt_);
    if (!slants_) return;
    *slants_ = *piece_->slants();
    const Index shift =
        bound_.front().inner - bound_.front().outer;  // of all that is bound, where there are any
    for (Decay::Slant& slant : *slants_)
      for (Decay::Range& range : slant.where) range.begin += shift, range.end += shift;
  }
  void decay_by(std::function<double(double t)> factor) override { piece_->decay_by(std::move(factor)); }
  void set_time(double t) override { piece_->set_time(t); }
  double decay_factor() const override { return piece_->decay_factor(); }
  void distances(const ConstVectorRef& v, MatrixRef out) const override { piece_->distances(at(v), out); }
  void sizes(const ConstVectorRef& v, VectorRef out) const override { piece_->sizes(at(v), out); }
  void gains(const ConstVectorRef& v, VectorRef out) const override { piece_->gains(at(v), out); }
  void project(VectorRef v) const override {
    w_.setZero();
    for (const auto& [outer, inner, size] : bound_) w_.segment(outer, size) = v.segment(inner, size);
    piece_->project(w_);
    take(w_, v);
  }
  void hold(VectorRef v) const override {
    at(v);
    piece_->hold(w_);
    take(w_, v);
  }
  std::shared_ptr<const Decay::Slants> slants() const override { return slants_; }
  std::shared_ptr<const Vector> tilt() const override { return tilt_; }
  void lean(const Decay& decay) override { piece_->lean(whole_.map().spread(decay)); }
  void multipliers(const ConstVectorRef& signs, const ConstVectorRef& v, const ConstVectorRef& force,
                   VectorRef low, VectorRef high) const override {
    piece_->multipliers(signs, at(v), force, low, high);
  }
  void kinks(double sign, const ConstVectorRef& v, const ConstVectorRef& force, Index unit,
             const std::vector<Index>& surfaces, Kinks& kinks) const override {
    piece_->kinks(sign, at(v), force, unit, surfaces, kinks);
  }
  bool snap(Index unit, const std::vector<Index>& surfaces, VectorRef v) const override {
    at(v);
    const bool pinned = piece_->snap(unit, surfaces, w_);
    take(w_, v);
    return pinned;
  }
  Index sample(Index surface) const override { return piece_->sample(surface); }
  std::string describe(Index unit, const std::vector<Index>& surfaces) const override {
    return piece_->describe(unit, surfaces);
  }

 private:
  /// What is bound, from w to v.
  void take(const Vector& w, VectorRef v) const {
    for (const auto& [outer, inner, size] : bound_) v.segment(inner, size) = w.segment(outer, size);
  }
  const Vector& at(const ConstVectorRef& v) const {
    whole_.map().value(v, w_);
    return w_;
  }

  std::shared_ptr<Piece> piece_;
  MappedProblem whole_;
  std::vector<BlockMap::Stretch> bound_;
  std::shared_ptr<Decay::Slants> slants_;  // in v,
  std::shared_ptr<Vector> tilt_;           // as well
  mutable Vector w_;                       // scratch: a piece serves one run
};

}  // namespace grokflow
