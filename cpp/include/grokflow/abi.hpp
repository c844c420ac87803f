// Whether a program and the library can pass each other what Eigen allocates.
//
// How Eigen allocates depends on instruction set, C library and sanitizers, and one side would free what it
// did not allocate. So the library defines a function under a name that says how it was compiled; a program
// refers to the name that fits its own flags, and where they differ the linker finds none. The installed
// package makes programs allocate as its library does; one compiled for a wider instruction set cannot.
#pragma once

#include <Eigen/Core>

#include "grokflow/version.h"

#if EIGEN_DEFAULT_ALIGN_BYTES > EIGEN_MAX_ALIGN_BYTES
#error "compiled for a wider instruction set than grokflow (-march): use its flags, e.g. by add_subdirectory"
#endif

#define GROKFLOW_ABI_JOIN(major, minor, world, eigen, alignment, malloc) \
  version_##major##_##minor##_eigen_##world##_##eigen##_aligned_##alignment##_malloc_##malloc
#define GROKFLOW_ABI_NAME(major, minor, world, eigen, alignment, malloc) \
  GROKFLOW_ABI_JOIN(major, minor, world, eigen, alignment, malloc)
#define GROKFLOW_ABI                                                                     \
  GROKFLOW_ABI_NAME(GROKFLOW_VERSION_MAJOR, GROKFLOW_VERSION_MINOR, EIGEN_WORLD_VERSION, \
                    EIGEN_MAJOR_VERSION, EIGEN_DEFAULT_ALIGN_BYTES, EIGEN_MALLOC_ALREADY_ALIGNED)

namespace grokflow::abi {

/// Of the library, if it is one that this program can use.
int GROKFLOW_ABI();

inline const int fits = GROKFLOW_ABI();

}  // namespace grokflow::abi
