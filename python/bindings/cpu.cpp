// Asks the processor what it can do, before any module compiled for more than the baseline is loaded; and asks the
// interpreter whether it is the main one, before pybind11 waits for it in vain.
#include <Python.h>

#include "cpu.hpp"

namespace {

int fill(PyObject* module) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(
        PyExc_ImportError,
        "grokflow cannot be imported in a sub-interpreter: its compiled module belongs to the main "
        "interpreter. Use a process, or a thread of the main interpreter.");
    return -1;
  }
  PyModule_AddObject(module, "baseline", PyBool_FromLong(1));
  PyModule_AddObject(module, "avx2", PyBool_FromLong(cpu_has_avx2()));
  PyModule_AddObject(module, "avx512", PyBool_FromLong(cpu_has_avx512()));
  return 0;
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(fill)}, {0, nullptr}};
PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", nullptr, 0, nullptr, slots, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__cpu() { return PyModuleDef_Init(&definition); }
