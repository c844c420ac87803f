"""Types of C functions by ctypes, and the problem r = w_0 w_1 - 1 in them."""

import ctypes

DOUBLES = ctypes.POINTER(ctypes.c_double)
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, DOUBLES, DOUBLES, ctypes.c_void_p)
PRODUCT = ctypes.CFUNCTYPE(ctypes.c_int, DOUBLES, DOUBLES, DOUBLES, ctypes.c_void_p)


@FUNCTION
def residual(w, out, data):
    out[0] = w[0] * w[1] - 1.0
    return 0


@PRODUCT
def jvp(w, v, out, data):
    out[0] = w[1] * v[0] + w[0] * v[1]
    return 0


@PRODUCT
def vjp(w, u, out, data):
    out[0], out[1] = w[1] * u[0], w[0] * u[0]
    return 0
