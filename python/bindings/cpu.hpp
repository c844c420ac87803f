// What this processor can run, asked when a build is chosen: by CMake for a build from source, and at import.
#pragma once

#include <string>

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define GROKFLOW_ASKS_CPU 1
#endif

/// x86-64-v3
inline bool cpu_has_avx2() {
#ifdef GROKFLOW_ASKS_CPU
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  return false;
#endif
}

/// x86-64-v4
inline bool cpu_has_avx512() {
#ifdef GROKFLOW_ASKS_CPU
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

/// The build that suits this processor best.
inline std::string native_build() {
  return cpu_has_avx512() ? "avx512" : cpu_has_avx2() ? "avx2" : "baseline";
}
