/* grokflow in plain C, for programs in C and for whatever language calls C.
 *
 *   grokflow_problem *problem;
 *   grokflow_run *run;
 *   if (grokflow_least_squares(d, n, 1.0, residual, jvp, vjp, NULL, &data, &problem))
 *     puts(grokflow_last_error());
 *   grokflow_options options = grokflow_default_options();
 *   options.t1 = 1e4;
 *   if (grokflow_gradient_flow(problem, w0, 1e-3, &options, &run)) puts(grokflow_last_error());
 *   if (grokflow_advance(run)) puts(grokflow_last_error());
 *   grokflow_end(run, &t, w);
 *   grokflow_free_run(run);
 *   grokflow_free_problem(problem);
 *
 * Functions return an error code, 0 if there is none; nothing is thrown, printed or aborted, and where there
 * is an error the arguments `out` are left alone. Numerical trouble is no error: it is a status of the run,
 * whose records stay. */
#pragma once

#include <stdint.h>

#include "grokflow/callbacks.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct grokflow_problem grokflow_problem;
typedef struct grokflow_run grokflow_run;

enum {
  GROKFLOW_OK = 0,
  GROKFLOW_BAD_ARGUMENT = 1, /* misuse, found before any work */
  GROKFLOW_NO_MEMORY = 2,
  GROKFLOW_FAILED = 3 /* anything else */
};

/* What the last error in this thread was, in a sentence; valid until the next call. */
const char* grokflow_last_error(void);
/* Of the library: "0.1.0". */
const char* grokflow_library_version(void);

/* F(w) = (scale/2) ||r(w)||^2 of d parameters and n residuals. `hvp` may be null. The functions and `data` are used until the problem and all
 * runs on it are freed. */
int grokflow_least_squares(int64_t d, int64_t n, double scale, grokflow_residual residual, grokflow_jvp jvp,
                           grokflow_vjp vjp, grokflow_hvp hvp, void* data, grokflow_problem** out);
/* A smooth loss. `hvp` may be null: then only flows, and by method "ROCK2". */
int grokflow_objective(int64_t d, grokflow_loss loss, grokflow_gradient gradient, grokflow_hvp hvp,
                       void* data, grokflow_problem** out);
/* A run keeps what it needs of its problem. Null is allowed. */
void grokflow_free_problem(grokflow_problem* problem);

typedef struct grokflow_options {
  double t0, t1;       /* span of time; 0 and 0, which for a landing is as long as it needs */
  double rtol, atol;   /* 1e-6; 0: rtol / 1000, times the size of w0 if that is below 1 */
  const char* method;  /* null: what suits the run; or "BDF", "Radau", "ROCK2", "Exponential", "Tsit5" */
  int64_t max_steps;   /* 1000000 */
  double max_time;     /* seconds; infinite */
  const double* times; /* when to record, sorted, in the span; null: on a logarithmic grid. Copied */
  int64_t num_times;
  int keep_states; /* whether to record w; 0 */
} grokflow_options;

grokflow_options grokflow_default_options(void);

/* Runs from w0 (d), made and not begun. Only a landing needs no options: they hold the span of time. */
int grokflow_gradient_flow(const grokflow_problem* problem, const double* w0, double weight_decay,
                           const grokflow_options* options,
                           grokflow_run** out); /* dw/dt = -grad F(w) - lam w */
int grokflow_limit_map(const grokflow_problem* problem, const double* w0, const grokflow_options* options,
                       grokflow_run** out); /* dw/dt = -grad F(w) until it lands; its end is Phi(w0) */
int grokflow_norm_flow(
    const grokflow_problem* problem, const double* w0, const grokflow_options* options,
    grokflow_run** out); /* dw/ds = -P(w) w on the manifold of minimisers, of which w0 is a point */
/* Null is allowed. */
void grokflow_free_run(grokflow_run* run);

/* Runs to the end. After an error, or once stopped, another call goes on where this one fell. */
int grokflow_advance(grokflow_run* run);
/* Asks a run to end after the step on its way, with the status "interrupted". The one function that may be
 * called while another thread advances the run. */
int grokflow_stop(grokflow_run* run);

/* What there is so far. While another thread uses the run, these are errors. */
const char* grokflow_status(
    const grokflow_run* run); /* "running", "finished", "landed", ...; null for a null run */
const char* grokflow_message(const grokflow_run* run);           /* why it ended, in a sentence */
int grokflow_end(const grokflow_run* run, double* t, double* w); /* w (d) */
int grokflow_num_records(const grokflow_run* run, int64_t* out);
int grokflow_times(const grokflow_run* run, double* out); /* one for each record */
/* "train_loss", "norm" or "grad_norm", one for each record. */
int grokflow_values(const grokflow_run* run, const char* name, double* out);
int grokflow_states(const grokflow_run* run, double* out); /* one state (d) after the other */

#ifdef __cplusplus
}
#endif
