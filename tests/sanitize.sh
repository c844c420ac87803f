#!/usr/bin/env bash
# The tests under tools that see what a test does not; those that are named, or all. In C++:
#   address   what is read or written outside of memory or after it, and what C++ leaves undefined
#   thread    races; by clang, for ThreadSanitizer knows the barriers of LLVM's OpenMP and not those of GNU's
#   valgrind  memory that is read before it is written
# Each builds in build/NAME, with Eigen's assertions. In Python, on the package that is installed:
#   parallel  tests that touch nothing but their own numbers, each in eight threads at once (pytest-run-parallel)
#   leaks     memory is flat over ten thousand solves
#   explore   random models and damaged files, others each time
set -euo pipefail
cd "$(dirname "$0")/.."

build() {  # NAME FLAGS [OPTION...]
  cmake --preset cpp -B "build/$1" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 $2" "${@:3}"
  cmake --build "build/$1" -- -j "${JOBS:-2}"
}

address() {
  build address "-fsanitize=address,undefined -fno-sanitize-recover=all"
  build/address/tests/cpp/grokflow_tests
}

thread() {
  build thread -fsanitize=thread -DCMAKE_CXX_COMPILER=clang++
  GROKFLOW_NUM_THREADS=3 TSAN_OPTIONS=ignore_noninstrumented_modules=1 build/thread/tests/cpp/grokflow_tests
}

valgrind() {
  build valgrind ""
  command valgrind --quiet --error-exitcode=1 build/valgrind/tests/cpp/grokflow_tests
}

parallel() {
  local safe=(closed_forms invariants metamorphic models end_points limit_projection limit_ends piecewise)
  safe=("${safe[@]/#/tests/python/test_}")
  pytest -n 0 --parallel-threads 8 "${safe[@]/%/.py}"
}

leaks() {
  pytest -n 0 -m "" tests/python/test_leaks.py
}

explore() {
  EXPLORE=1 pytest -m slow tests/python/test_properties.py tests/python/test_fuzz.py
}

[ $# -gt 0 ] || set -- address thread valgrind parallel leaks explore
for name; do "$name"; done
