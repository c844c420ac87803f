// The smallest test framework that does: TEST(name) { CHECK(condition); }
#pragma once

#include <cstdio>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int failures = 0;

struct Registration {
  Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

}  // namespace check

#define TEST(name)                                               \
  static void name();                                            \
  static const check::Registration register_##name(#name, name); \
  static void name()

/// Counts a failure and goes on; the rest is printed like printf's arguments.
#define CHECK_THAT(condition, ...)                                              \
  do {                                                                          \
    if (!(condition)) {                                                         \
      ++check::failures;                                                        \
      std::printf("%s:%d: CHECK(%s) failed: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                                 \
      std::printf("\n");                                                        \
    }                                                                           \
  } while (false)

#define CHECK(condition) CHECK_THAT(condition, "false")

/// |a - b| <= tolerance
#define CHECK_NEAR(a, b, tolerance)                                                         \
  do {                                                                                      \
    const double a_ = (a), b_ = (b);                                                        \
    CHECK_THAT(std::abs(a_ - b_) <= (tolerance), "%s = %.17g, %s = %.17g", #a, a_, #b, b_); \
  } while (false)

#define CHECK_THROWS(expression, Exception)  \
  do {                                       \
    bool thrown = false;                     \
    try {                                    \
      expression;                            \
    } catch (const Exception&) {             \
      thrown = true;                         \
    }                                        \
    CHECK_THAT(thrown, "no %s", #Exception); \
  } while (false)
