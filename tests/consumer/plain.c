/* The plain C interface: a problem of C functions through flow, landing and drift; a stop; misuse. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "grokflow/grokflow.h"

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      printf("%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, grokflow_last_error()); \
      return 1;                                                                          \
    }                                                                                    \
  } while (0)

enum { N = 4, D = 5 };

/* r_i = w_i w_{i+1} - 1. `data` counts calls. */
static int residual(const double* w, double* out, void* data) {
  for (int i = 0; i < N; ++i) out[i] = w[i] * w[i + 1] - 1.0;
  ++*(int*)data;
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

static int refuses(const double* w, double* out, void* data) {
  (void)w, (void)out, (void)data;
  return 7;
}

static int not_a_number(const double* w, double* out, void* data) {
  (void)w, (void)data;
  for (int i = 0; i < N; ++i) out[i] = NAN;
  return 0;
}

/* F = sum_i w_i^2 / 2 */
static int loss(const double* w, double* out, void* data) {
  (void)data;
  *out = 0.0;
  for (int i = 0; i < D; ++i) *out += 0.5 * w[i] * w[i];
  return 0;
}

static int gradient(const double* w, double* out, void* data) {
  (void)data;
  for (int i = 0; i < D; ++i) out[i] = w[i];
  return 0;
}

static int norm_falls(const grokflow_run* run) {
  int64_t count = 0;
  double norm[1000];
  CHECK(!grokflow_num_records(run, &count) && count > 1 && count <= 1000);
  CHECK(!grokflow_values(run, "norm", norm));
  CHECK(norm[count - 1] < norm[0]);
  return 0;
}

static int runs(const grokflow_problem* problem, const double* w0) {
  grokflow_run* run = NULL;
  double t, w[D], r[N];
  int calls = 0;
  CHECK(!grokflow_limit_map(problem, w0, NULL, &run) && !grokflow_advance(run));
  CHECK(!strcmp(grokflow_status(run), "landed") && !grokflow_end(run, &t, w));
  residual(w, r, &calls);
  for (int i = 0; i < N; ++i) CHECK(fabs(r[i]) < 1e-12);
  grokflow_free_run(run);

  grokflow_options options = grokflow_default_options();
  options.t1 = 1.0;
  CHECK(!grokflow_norm_flow(problem, w, &options, &run) && !grokflow_advance(run));
  CHECK(!strcmp(grokflow_status(run), "finished") && !norm_falls(run));
  grokflow_free_run(run);

  const double times[] = {0.0, 1.0, 1e3};
  double recorded[3], states[3 * D];
  options.t1 = 1e3;
  options.times = times, options.num_times = 3, options.keep_states = 1;
  CHECK(!grokflow_gradient_flow(problem, w0, 1e-3, &options, &run) && !grokflow_advance(run));
  CHECK(!strcmp(grokflow_status(run), "finished") && !norm_falls(run));
  CHECK(!grokflow_times(run, recorded) && !memcmp(recorded, times, sizeof times));
  CHECK(!grokflow_states(run, states) && !memcmp(states, w0, D * sizeof(double)));
  CHECK(!grokflow_end(run, &t, w) && t == 1e3 && !memcmp(states + 2 * D, w, sizeof w));
  grokflow_free_run(run);
  return 0;
}

static int gradient_alone(const double* w0) {
  grokflow_problem* problem = NULL;
  grokflow_run* run = NULL;
  grokflow_options options = grokflow_default_options();
  double t, w[D];
  options.t1 = 1.0;
  CHECK(!grokflow_objective(D, loss, gradient, NULL, NULL, &problem));
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT);
  CHECK(strstr(grokflow_last_error(), "ROCK2"));
  options.method = "ROCK2";
  CHECK(!grokflow_gradient_flow(problem, w0, 0.0, &options, &run) && !grokflow_advance(run));
  CHECK(!grokflow_end(run, &t, w) && fabs(w[0] - w0[0] * exp(-1.0)) < 1e-4);
  grokflow_free_run(run);
  grokflow_free_problem(problem);
  return 0;
}

static int stops_and_goes_on(const grokflow_problem* problem, const double* w0) {
  grokflow_run* run = NULL;
  grokflow_options options = grokflow_default_options();
  options.t1 = 10.0;
  CHECK(!grokflow_gradient_flow(problem, w0, 0.0, &options, &run) && !grokflow_stop(run));
  CHECK(!grokflow_advance(run) && !strcmp(grokflow_status(run), "interrupted"));
  CHECK(!grokflow_advance(run) && !strcmp(grokflow_status(run), "finished"));
  grokflow_free_run(run);
  return 0;
}

static int errors(const grokflow_problem* problem, const double* w0) {
  const double bad[D] = {1.0, NAN, 1.0, 1.0, 1.0};
  grokflow_problem* other = NULL;
  grokflow_run* run = NULL;
  grokflow_options options = grokflow_default_options();
  double value;
  options.t1 = 1.0;
  CHECK(grokflow_least_squares(D, N, 1.0, NULL, jvp, vjp, NULL, NULL, &other) == GROKFLOW_BAD_ARGUMENT);
  CHECK(strstr(grokflow_last_error(), "residual is missing") && !other);
  CHECK(grokflow_least_squares(D, N, NAN, residual, jvp, vjp, NULL, NULL, &other) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_least_squares(-1, N, 1.0, residual, jvp, vjp, NULL, NULL, &other) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_objective(D, NULL, NULL, NULL, NULL, &other) == GROKFLOW_BAD_ARGUMENT && !other);
  CHECK(grokflow_gradient_flow(NULL, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_gradient_flow(problem, NULL, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, NULL, &run) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, NULL) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_gradient_flow(problem, bad, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_gradient_flow(problem, w0, NAN, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options.rtol = NAN;
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options.rtol = 1e-30;
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options = grokflow_default_options();
  options.atol = INFINITY;
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options = grokflow_default_options();
  options.max_steps = 0;
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options = grokflow_default_options();
  options.max_time = NAN;
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  options = grokflow_default_options();
  options.method = "Euler";
  CHECK(grokflow_gradient_flow(problem, w0, 0.0, &options, &run) == GROKFLOW_BAD_ARGUMENT && !run);
  CHECK(grokflow_advance(NULL) == GROKFLOW_BAD_ARGUMENT && grokflow_stop(NULL) == GROKFLOW_BAD_ARGUMENT);
  CHECK(!grokflow_status(NULL) && !grokflow_message(NULL));
  grokflow_free_run(NULL);
  grokflow_free_problem(NULL);

  options = grokflow_default_options();
  options.t1 = 1.0;
  CHECK(!grokflow_least_squares(D, N, 1.0, not_a_number, jvp, vjp, NULL, NULL, &other));
  CHECK(!grokflow_gradient_flow(other, w0, 0.0, &options, &run) && !grokflow_advance(run));
  CHECK(!strcmp(grokflow_status(run), "non_finite"));
  grokflow_free_run(run);
  grokflow_free_problem(other);
  CHECK(!grokflow_least_squares(D, N, 1.0, refuses, jvp, vjp, NULL, NULL, &other));
  CHECK(!grokflow_gradient_flow(other, w0, 0.0, &options, &run) && !grokflow_advance(run));
  CHECK(!strcmp(grokflow_status(run), "non_finite"));
  grokflow_free_run(run);
  grokflow_free_problem(other);

  CHECK(!grokflow_gradient_flow(problem, w0, 0.0, &options, &run));
  CHECK(grokflow_values(run, "loss", &value) == GROKFLOW_BAD_ARGUMENT);
  CHECK(grokflow_end(run, NULL, NULL) == GROKFLOW_BAD_ARGUMENT);
  grokflow_free_run(run);
  return 0;
}

int main(void) {
  const double w0[D] = {0.5, 1.0, 2.0, 3.0, 0.3};
  int calls = 0;
  grokflow_problem* problem = NULL;
  CHECK(!grokflow_least_squares(D, N, 1.0, residual, jvp, vjp, NULL, &calls, &problem));
  if (runs(problem, w0) || gradient_alone(w0) || stops_and_goes_on(problem, w0) || errors(problem, w0))
    return 1;
  grokflow_free_problem(problem);
  printf("grokflow %s: %d residuals\n", grokflow_library_version(), calls);
  return 0;
}
