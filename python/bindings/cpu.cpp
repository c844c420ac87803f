// Asks the processor what it can do, before any module compiled for more than the baseline is loaded.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_cpu, m, pybind11::mod_gil_not_used()) {
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  m.attr("avx2") = avx2;  // x86-64-v3
  m.attr("avx512") = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl");  // x86-64-v4
}
