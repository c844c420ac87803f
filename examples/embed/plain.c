/* The residual r_i = w_i w_{i+1} - 1 by gradient flow with weight decay, in plain C. */
#include <stdio.h>

#include "grokflow/grokflow.h"

enum { D = 21, N = 20 };

static int residual(const double* w, double* out, void* data) {
  (void)data;
  for (int i = 0; i < N; ++i) out[i] = w[i] * w[i + 1] - 1.0;
  return 0;
}

static int jvp(const double* w, const double* v, double* out, void* data) {
  (void)data;
  for (int i = 0; i < N; ++i) out[i] = w[i] * v[i + 1] + w[i + 1] * v[i];
  return 0;
}

static int vjp(const double* w, const double* u, double* out, void* data) {
  (void)data;
  for (int i = 0; i < D; ++i) out[i] = 0.0;
  for (int i = 0; i < N; ++i) out[i] += w[i + 1] * u[i], out[i + 1] += w[i] * u[i];
  return 0;
}

int main(void) {
  double t, w[D];
  for (int i = 0; i < D; ++i) w[i] = 0.5 + 0.1 * i;
  grokflow_problem* problem = NULL;
  grokflow_run* run = NULL;
  grokflow_options options = grokflow_default_options();
  options.t1 = 1e5;
  int error = grokflow_least_squares(D, N, 1.0 / N, residual, jvp, vjp, NULL, NULL, &problem);
  if (!error) error = grokflow_gradient_flow(problem, w, 1e-4, &options, &run);
  if (!error) error = grokflow_advance(run);
  if (!error) error = grokflow_end(run, &t, w);
  if (error)
    printf("error %d: %s\n", error, grokflow_last_error());
  else
    printf("%s at t = %g: w = %.4f, ..., %.4f\n", grokflow_status(run), t, w[0], w[D - 1]);
  grokflow_free_run(run);
  grokflow_free_problem(problem);
  return error;
}
