// Counts calls of malloc: Eigen makes them, and so does operator new. Sanitizers bring a malloc of their own,
// and other systems than glibc do not let theirs be replaced: nothing is counted there.
#pragma once

#include <Eigen/Core>  // whose headers of vector instructions declare posix_memalign once more, for clang to compare
#include <cstdlib>

inline bool counting = false;
inline long allocations = 0;

// By GCC, or by clang, whose question Eigen answers with 0 for GCC.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GROKFLOW_SANITIZED
#elif __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GROKFLOW_SANITIZED
#endif

#if defined(__GLIBC__) && !defined(GROKFLOW_SANITIZED)

#include <execinfo.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace {

// The first call of backtrace allocates.
void* warm_backtrace[1] = {reinterpret_cast<void*>(static_cast<std::intptr_t>(backtrace(warm_backtrace, 1)))};

void count() {
  if (!counting) return;
  counting = false;
  if (++allocations == 1) {  // say where, once
    void* frames[12];
    backtrace_symbols_fd(frames, backtrace(frames, 12), STDOUT_FILENO);
  }
  counting = true;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept { return count(), __libc_malloc(size); }
void* calloc(std::size_t number, std::size_t size) noexcept { return count(), __libc_calloc(number, size); }
void* realloc(void* block, std::size_t size) noexcept { return count(), __libc_realloc(block, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return count(), __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  *block = aligned_alloc(alignment, size);
  return *block ? 0 : ENOMEM;
}
}

#endif
