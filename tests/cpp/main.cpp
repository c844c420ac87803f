// Runs the tests that are named, or all; "--list" names them.
#include <cstring>

#include "check.hpp"

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const check::Test& test : check::tests()) std::printf("%s\n", test.name);
    return 0;
  }
  int ran = 0, failed = 0;
  for (const check::Test& test : check::tests()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], test.name) == 0;
    if (!wanted) continue;
    check::failures = 0;
    test.run();
    std::printf("%-6s %s\n", check::failures == 0 ? "ok" : "FAILED", test.name);
    ++ran;
    failed += check::failures != 0;
  }
  std::printf("%d tests, %d failed\n", ran, failed);
  return ran == 0 || failed != 0;
}
