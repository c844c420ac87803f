// Asks the processor what it can do, before any module compiled for more than the baseline is loaded.
#include "cpu.hpp"

#include <pybind11/pybind11.h>

PYBIND11_MODULE(_cpu, m, pybind11::mod_gil_not_used()) {
  m.attr("baseline") = true;
  m.attr("avx2") = cpu_has_avx2();
  m.attr("avx512") = cpu_has_avx512();
}
