// f' frozen at a point, and its factorisations, for steppers whose state can be saved.
#pragma once

#include <memory>

#include "grokflow/flow.hpp"

namespace grokflow {

/// (I - z f')^-1, and the z that it was made for.
template <class Scalar>
struct Factored {
  std::unique_ptr<ShiftedSolver<Scalar>> solver;
  Scalar z{};

  explicit operator bool() const { return solver != nullptr; }
  ShiftedSolver<Scalar>* operator->() const { return solver.get(); }
};

/// Remembers the point, at which f' is frozen again when the state is read, and the shifts, for which it is
/// factored again: that is less to keep than matrices are, and gives the same bits.
class FrozenFlow {
 public:
  explicit FrozenFlow(Flow& flow) : flow_(flow) {}

  explicit operator bool() const { return lin_ != nullptr; }
  LinearizedFlow* operator->() const { return lin_.get(); }
  LinearizedFlow& operator*() const { return *lin_; }

  void linearize(const ConstVectorRef& w) {
    point_ = w;
    time_ = flow_.time();
    flow_.linearize(w, lin_);
  }

  template <class Scalar>
  bool factor(Scalar z, Factored<Scalar>& factored) {
    factored.z = z;
    return lin_->factor(z, factored.solver);
  }

  template <class... Solvers>
  void state(Archive& archive, Solvers&... factored) {
    bool frozen = lin_ != nullptr;
    archive(frozen);
    if (!frozen) return;
    archive(point_, time_);
    if (archive.reading()) {
      flow_.set_time(time_);
      flow_.linearize(point_, lin_);
    }
    lin_->state(archive);
    (state_of(archive, factored), ...);
  }

 private:
  template <class Scalar>
  void state_of(Archive& archive, Factored<Scalar>& factored) {
    bool made = factored.solver != nullptr;
    archive(made);
    if (!made) return;
    archive(factored.z);
    if (archive.reading()) lin_->factor(factored.z, factored.solver);
    factored.solver->state(archive);
  }

  Flow& flow_;
  std::unique_ptr<LinearizedFlow> lin_;
  Vector point_;
  double time_ = 0.0;
};

}  // namespace grokflow
