// What a changed place calls. All changes are compiled in; whoever runs the tests makes one at a time.
#pragma once

// Two comparisons in a row are meant, and warnings would be taken for what is wrong.
#pragma GCC diagnostic ignored "-Wparentheses"
#pragma GCC diagnostic ignored "-Wsign-compare"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace mutants {

/// A byte for each change, in a file that all processes of a test share: 1 is set where the change would have
/// made a difference, 2 while it is made.
inline unsigned char* open_table() {
  static unsigned char alone[4096];
  const char* path = std::getenv("GROKFLOW_MUTANTS");
  const int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return alone;
  void* shared = mmap(nullptr, sizeof alone, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return static_cast<unsigned char*>(shared);
}

inline unsigned char* const table = open_table();

template <class T>
T either(int change, T before, T after) {
  if (before != after) table[change] |= 1;
  return table[change] & 2 ? after : before;
}

/// 0.9 is written `mutants::constant(17, 0.9, 0.909)`,
inline double constant(int change, double before, double after) { return either(change, before, after); }

/// a - b `a - mutants::sign(17) * b`,
inline int sign(int change) { return either(change, 1, -1); }

/// a -= b `a -= mutants::Sign{17} *= b`, which takes in the whole of b,
struct Sign {
  int change;
};
template <class B>
auto operator*=(Sign s, const B& b) {
  return sign(s.change) * b;
}

/// and a < b `a < mutants::Turned{17, true} < b`: negated, or with the other side of the bound.
struct Turned {
  int change;
  bool negated;
};
template <class A>
struct Left {
  const A& value;
  Turned turned;
};
#define MUTANTS_COMPARISON(op, other)                                                           \
  template <class A>                                                                            \
  Left<A> operator op(const A& a, Turned turned) {                                              \
    return {a, turned};                                                                         \
  }                                                                                             \
  template <class A, class B>                                                                   \
  bool operator op(Left<A> a, const B& b) {                                                     \
    const bool before = a.value op b;                                                           \
    return either(a.turned.change, before, a.turned.negated ? !before : bool(a.value other b)); \
  }
MUTANTS_COMPARISON(<, <=)
MUTANTS_COMPARISON(<=, <)
MUTANTS_COMPARISON(>, >=)
MUTANTS_COMPARISON(>=, >)
MUTANTS_COMPARISON(==, !=)
MUTANTS_COMPARISON(!=, ==)
#undef MUTANTS_COMPARISON

}  // namespace mutants
