#include "numerics/parallel.hpp"

#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "grokflow/threads.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace grokflow {
namespace {

int default_num_threads() {
#ifdef _OPENMP
  if (const char* text = std::getenv("GROKFLOW_NUM_THREADS")) {
    char* end = nullptr;
    const long number = std::strtol(text, &end, 10);
    if (end != text && *end == '\0' && number >= 1 && number <= 1 << 16) return static_cast<int>(number);
  }
  return omp_get_max_threads();
#else
  return 1;
#endif
}

std::atomic<int>& setting() {
  static std::atomic<int> number{default_num_threads()};
  return number;
}

/// Whether OpenMP's threads can be used here and now. GNU's OpenMP hangs in the child of a process that has
/// used it.
bool threads_alive() {
#ifndef _OPENMP
  return false;
#else
  if (omp_in_parallel()) return false;
#if defined(__unix__) || defined(__APPLE__)
  static const pid_t first_user = getpid();
  return getpid() == first_user;
#else
  return true;
#endif
#endif
}

#ifdef _OPENMP
/// How many of `wanted` threads, the calling one among them, the system gives: found by starting them all.
int startable(int wanted) {
  std::mutex gate;
  std::vector<std::thread> started;
  {
    const std::lock_guard<std::mutex> closed(gate);  // so that none ends before the last has started
    try {
      while (static_cast<int>(started.size()) < wanted - 1)
        started.emplace_back([&gate] { const std::lock_guard<std::mutex> pass(gate); });
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
  }
  for (std::thread& thread : started) thread.join();
  return static_cast<int>(started.size()) + 1;
}

/// `wanted`, or fewer where the system gives no more: OpenMP would end the process. Each thread that calls
/// has a pool of its own, hence looks for itself, once.
int granted(int wanted) {
  thread_local int proven = 1;
  thread_local bool more = true;
  if (wanted > proven && more) {
    proven = startable(wanted);
    more = proven == wanted;
  }
  return std::min(wanted, proven);
}
#endif

}  // namespace

int num_threads() { return setting(); }

void set_num_threads(int number) {
  if (number < 1)
    throw std::invalid_argument("the number of threads is " + std::to_string(number) +
                                "; it must be at least 1");
  setting() = has_threads() ? number : 1;
}

bool has_threads() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

namespace parallel {

void run(Index count, bool shared, void (*call)(void* object, Index i), void* object) {
  int threads = static_cast<int>(std::min<Index>(num_threads(), count));
  if (!shared || threads < 2 || !threads_alive()) threads = 1;
#ifdef _OPENMP
  threads = granted(threads);
#endif
  if (threads < 2) {
    for (Index i = 0; i < count; ++i) call(object, i);
    return;
  }
#ifdef _OPENMP
  std::exception_ptr failure;  // an exception must not leave a parallel region
  std::mutex mutex;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (Index i = 0; i < count; ++i) {
    try {
      call(object, i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
#endif
}

}  // namespace parallel
}  // namespace grokflow
