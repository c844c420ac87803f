// Asks the processor what it can do, before any module compiled for more than the baseline is loaded.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_cpu, m, pybind11::mod_gil_not_used()) {
  m.def("supports_avx2", [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  });
}
