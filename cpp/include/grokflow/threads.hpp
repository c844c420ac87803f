// How many threads the library computes with.
//
// Large products, kernels and factorisations are cut into tiles that depend on their sizes alone, and each
// tile is computed from start to end by one thread. So a result has the same bits at any number of threads,
// and small problems, which are one tile, start no thread.
//
// The number is, in this order: what `set_num_threads` was told; the environment variable
// GROKFLOW_NUM_THREADS; what OpenMP decides, which honours OMP_NUM_THREADS and the processors that the
// process may use. It is one for the process, and nobody else's: OpenMP's own setting is left alone, so that
// a BLAS or PyTorch beside it keeps its number. Threads run only inside a call of the library. In a build
// without OpenMP, in a parallel region of the caller, and in the child of a fork (whose copy of the thread
// pool is dead), everything runs on the calling thread; where the system starts fewer threads than asked for,
// on those. Each thread of the caller's own starts a team: programs that solve in several want a team of one.
#pragma once

namespace grokflow {

/// The number of threads that large computations use; 1 in a build without OpenMP.
int num_threads();

/// Sets it, from now on. Throws std::invalid_argument if `number` is below 1.
void set_num_threads(int number);

/// Whether the library was built with OpenMP.
bool has_threads();

}  // namespace grokflow
