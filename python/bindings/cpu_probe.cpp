// Prints the build that suits this processor: run by CMake where GROKFLOW_BUILDS says native.
#include <cstdio>

#include "cpu.hpp"

int main() { std::printf("%s", native_build().c_str()); }
