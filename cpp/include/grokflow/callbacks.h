/* Compiled functions for `gf.LeastSquares` and `gf.Objective`: ctypes function pointers, numba @cfunc, or
 * scipy.LowLevelCallable. They are called without the interpreter, several at a time where several runs go on.
 *
 * d and n are num_params and num_residuals; a function that does not know them gets them by `data`, which is that
 * of the LowLevelCallable, and else null. Each returns 0, or another number where it has no value at w: the solver
 * then tries a shorter step, as it does where a value is not finite. This header is C and C++.
 */
#ifndef GROKFLOW_CALLBACKS_H
#define GROKFLOW_CALLBACKS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef int (*grokflow_function)(const double* w, double* out, void* data);
typedef int (*grokflow_product)(const double* w, const double* v, double* out, void* data);

typedef grokflow_function grokflow_residual; /* out (n) = r(w) */
typedef grokflow_product grokflow_jvp;       /* out (n) = J v, v (d) */
typedef grokflow_product grokflow_vjp;       /* out (d) = J^T v, v (n) */
typedef grokflow_function grokflow_loss;     /* out (1) = F(w) */
typedef grokflow_function grokflow_gradient; /* out (d) = grad F(w) */
typedef grokflow_product grokflow_hvp;       /* out (d) = Hess F(w) v, v (d), with the factor c */

#ifdef __cplusplus
}
#endif

#endif /* GROKFLOW_CALLBACKS_H */
