#include "callback_argument.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace grokflow {

namespace {

// The base is no array, so NumPy refuses `flags.writeable = True`, and every slice refers to this array
// itself.
py::array read_only(const double* data, Index size, py::handle base) {
  py::array array(py::dtype::of<double>(), {size}, {Index{sizeof(double)}}, data, base);
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

py::capsule copy_of(const double* data, Index size) {
  auto copy = std::make_unique<double[]>(static_cast<std::size_t>(size));
  std::copy_n(data, size, copy.get());
  py::capsule owner(copy.get(), [](void* memory) { delete[] static_cast<double*>(memory); });
  copy.release();
  return owner;
}

}  // namespace

py::array private_copy(const ConstVectorRef& x) {
  const py::capsule owner = copy_of(x.data(), x.size());
  return read_only(owner.get_pointer<double>(), x.size(), owner);
}

Argument::Argument(const char* name, const ConstVectorRef& x, bool copy)
    : name_(name), array_(copy ? private_copy(x) : read_only(x.data(), x.size(), py::none())), lent_(!copy) {}

void Argument::release_from(const py::error_already_set& error) {
  if (!lent_ || references() == 1) return;
  try {
    const py::module_ support = py::module_::import("grokflow._callback_support");
    const py::object traceback = error.trace() ? error.trace() : py::none();
    const py::object frames = support.attr("frames_of")(error.value(), traceback);
    support.attr("replace_locals")(frames, array_);
    if (references() > 1) support.attr("clear_locals")(frames);
  } catch (py::error_already_set& failure) {
    failure.discard_as_unraisable("grokflow, while it took an argument back from an exception");
  }
  if (references() > 1) move_to_own_memory();
}

void Argument::move_to_own_memory() {
  auto* proxy = py::detail::array_proxy(array_.ptr());
  py::capsule owner = copy_of(reinterpret_cast<const double*>(proxy->data), array_.size());
  proxy->data = reinterpret_cast<char*>(owner.get_pointer<double>());
  Py_XDECREF(std::exchange(proxy->base, owner.release().ptr()));
  lent_ = false;
}

}  // namespace grokflow
