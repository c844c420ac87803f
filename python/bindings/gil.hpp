// Python from threads that do not hold it: the GIL, and functions of the user's.
//
// A daemon thread may be inside the library when the interpreter exits. Until 3.13 Python ends a thread that then
// asks for the GIL by unwinding its stack, which destructors do not survive: the process aborts. From 3.14 on such a
// thread sleeps until the process has ended, and so it does here.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <initializer_list>
#include <memory>
#include <thread>
#include <utility>

namespace grokflow {

namespace py = pybind11;

/// The thread that takes signals, and that shuts Python down. First asked at import, with the GIL.
inline unsigned long main_thread() {
  static const auto ident =
      py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  return ident;
}

[[noreturn]] inline void sleep_until_exit() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// What `ask` returns, which may wait for the GIL and throws nothing of its own.
template <class Ask>
auto unless_exiting(Ask&& ask) {
  if (!Py_IsInitialized() && PyThread_get_thread_ident() != main_thread()) sleep_until_exit();
  try {
    return ask();
  } catch (...) {  // the stack of this thread is being unwound: it must not leave here
    sleep_until_exit();
  }
}

/// While it lives, this thread does not hold the GIL.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    unless_exiting([this] { PyEval_RestoreThread(state_); });
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

/// While it lives, this thread holds the GIL.
class Locked {
 public:
  Locked() : state_(unless_exiting([] { return PyGILState_Ensure(); })) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  PyGILState_STATE state_;
};

/// function(*arguments). With the GIL.
inline py::object call(py::handle function, std::initializer_list<py::object> arguments) {
  PyObject* stack[6] = {};  // the first belongs to the callee
  std::size_t count = 0;
  for (const py::object& argument : arguments) stack[++count] = argument.ptr();
  PyObject* result = unless_exiting([&] {
    return PyObject_Vectorcall(function.ptr(), stack + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  });
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

/// A Python object held by C++: the last copy may go in any thread. All copies share one reference, which the
/// garbage collector may be shown.
class Held {
 public:
  explicit Held(py::object object)
      : object_(new py::object(std::move(object)), [](py::object* held) {
          if (!Py_IsInitialized()) return;  // the interpreter is gone, and its memory with it
          const Locked locked;
          delete held;
        }) {}

  const py::object& object() const { return *object_; }
  /// object(*arguments). With the GIL.
  py::object operator()(std::initializer_list<py::object> arguments) const {
    return call(*object_, arguments);
  }

 private:
  std::shared_ptr<py::object> object_;
};

/// `value`, which belongs to a Python object, for C++ to keep: `object` becomes that Python object, kept as long.
template <class T>
std::shared_ptr<T> share(T& value, Held& object) {
  object = Held(py::cast(value, py::return_value_policy::reference));
  return {&value, [object](T*) {}};
}
template <class T>
std::shared_ptr<T> share(T& value) {
  Held object{py::none()};
  return share(value, object);
}

}  // namespace grokflow
