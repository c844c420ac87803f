/* r_i(w) = w_i^2 - i for d = n = 3, and what follows; half of it by the loss alone. */
#include "grokflow/callbacks.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

EXPORT int residual(const double* w, double* out, void* data) {
  if (data) ++*(long*)data; /* counts its calls */
  for (int i = 0; i < 3; ++i) out[i] = w[i] * w[i] - (i + 1);
  return w[0] > 10.0;
}
EXPORT int product(const double* w, const double* v, double* out, void* data) {
  (void)data;
  for (int i = 0; i < 3; ++i) out[i] = 2.0 * w[i] * v[i];
  return 0;
}
EXPORT int loss(const double* w, double* out, void* data) {
  double r[3];
  int failed = residual(w, r, data);
  *out = 0.5 * (r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
  return failed;
}
EXPORT int gradient(const double* w, double* out, void* data) {
  double r[3];
  int failed = residual(w, r, data);
  for (int i = 0; i < 3; ++i) out[i] = 2.0 * w[i] * r[i];
  return failed;
}
EXPORT int hvp(const double* w, const double* v, double* out, void* data) {
  (void)data;
  for (int i = 0; i < 3; ++i) out[i] = (6.0 * w[i] * w[i] - 2.0 * (i + 1)) * v[i];
  return 0;
}
