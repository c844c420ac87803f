"""Curvature without a matrix: iterations of its solves, and whole flows against `gram`.

python -m benchmarks.krylov [--quick]
"""

from __future__ import annotations

import argparse
import time

import grokflow as gf
import numpy as np
from grokflow._backend import core
from scipy.fft import dct, idct
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

from benchmarks.tanh import Tanh

SHIFTS = (1e-2, 1e-3, 1e-4, 1e-5)
SOLVES = 10  # at each shift, each with a kernel of its own
ERROR = 1e-4  # of the solution, relative to it
RANK = 300
DRIFT = 0.05  # relative change of the Jacobian from solve to solve
SPECTRA = {  # eigenvalues of the kernel, from 3e1 to 3e-7
    "fast decay": lambda share: share**0.31,  # plain CG to a residual of 1e-4: 60, 170, 500, 1400 iterations
    "log-spaced": lambda share: share,
}


class Moving:
    """A linear problem, with d = n and a kernel of given spectrum, whose Jacobian X moves at each `step`."""

    def __init__(self, n, spectrum, seed=0):
        self.rng = np.random.default_rng(seed)
        eigenvalues = 3e1 * 10 ** (-8 * SPECTRA[spectrum](np.arange(n) / (n - 1)))
        signs = self.rng.choice([-1.0, 1.0], (2, n))
        rows = idct(signs[:, :, None] * dct(np.eye(n), norm="ortho", axis=0), norm="ortho", axis=1)
        self.X = (rows[0] * np.sqrt(eigenvalues)) @ rows[1].T
        self.model = gf.LeastSquares(
            residual=lambda w: self.X @ w,
            jvp=lambda w, v: self.X @ v,
            vjp=lambda w, u: self.X.T @ u,
            num_params=n,
            num_residuals=n,
            scale="sum",
        )

    def step(self):
        self.X = self.X * np.exp(DRIFT * self.rng.standard_normal(self.X.shape[1]))

    def solve(self, shift, v):
        """(I + X^T X / shift)^-1 v"""
        factor = cho_factor(self.X @ self.X.T + shift * np.eye(len(v)), overwrite_a=True)
        return v - self.X.T @ cho_solve(factor, self.X @ v)


def conjugate_gradients(X, shift, v, exact, precondition):
    """Iterations on (X X^T + shift) u = X v until v - X^T u is accurate, and until the residual is small."""
    x, r = v.copy(), X @ v
    first, found = np.linalg.norm(r), [0, 0]
    z = precondition(r)
    p, slope = z, r @ z
    for k in range(1, 20_000):
        q = X.T @ p
        image = X @ q + shift * p
        length = slope / (p @ image)
        x -= length * q
        r = r - length * image
        reached = np.linalg.norm(x - exact) / np.linalg.norm(exact), np.linalg.norm(r) / first
        found = [at or (k if size <= ERROR else 0) for at, size in zip(found, reached, strict=True)]
        if all(found):
            break
        z = precondition(r)
        last, slope = slope, r @ z
        p = z + slope / last * p
    return found


def nystrom(X, rng):
    """Randomised Nystrom approximation of X X^T (Frangella, Tropp & Udell 2023), as a preconditioner."""
    sketch = np.linalg.qr(rng.standard_normal((len(X), RANK)))[0]
    image = X @ (X.T @ sketch)
    root = np.linalg.cholesky(sketch.T @ image)
    U, s, _ = np.linalg.svd(np.linalg.solve(root, image.T).T, full_matrices=False)
    values = s**2

    def at(shift):
        factor = (shift + values[-1]) / (shift + values) - 1
        return lambda r: r + U @ (factor * (U.T @ r))

    return at


def iterations(n, spectrum):
    """Iterations to an error of the solution, and products with X and X^T for all solves of a moving X.

    Plain CG and Nystrom are given a kernel that stands still: one sketch of RANK products serves all solves.
    They stop at the error, which they could not know; ours stops by itself.
    """
    print(f"\nn = {n}, {spectrum}: iterations to an error of {ERROR:g} (to that residual), rank {RANK},")
    print(f"and products with X and X^T in {SOLVES} solves")
    print(f"{'shift':>8} {'plain':>13} {'Nystrom':>11} {'first':>6} {'last':>5} {'error':>8}", end="")
    print(f" | {'plain':>6} {'Nystrom':>8} {'ours':>6}")
    for shift in SHIFTS:
        problem, rng = Moving(n, spectrum), np.random.default_rng(1)
        made = core.SteppedCurvature(problem.model._core, [(0, n, 0.0)], "krylov", 2.0**32, RANK, ERROR)
        counts, errors = [], []
        for _ in range(SOLVES):
            v, before = rng.standard_normal(n), made.stats["niter"]
            made.linearize(np.zeros(n))
            x, exact = made.solve(1 / shift, v), problem.solve(shift, v)
            counts.append(made.stats["niter"] - before)
            errors.append(np.linalg.norm(x - exact) / np.linalg.norm(exact))
            if len(counts) == 1:
                plain = conjugate_gradients(problem.X, shift, v, exact, lambda r: r)
                sketched = conjugate_gradients(problem.X, shift, v, exact, nystrom(problem.X, rng)(shift))
            problem.step()
        text = f"{plain[0]:5d} ({plain[1]:5d}) {sketched[0]:4d} ({sketched[1]:4d})"
        print(f"{shift:8.0e} {text} {counts[0]:6d} {counts[-1]:5d} {max(errors):8.1e}", end="")
        ours = made.stats["njvp"] + made.stats["nvjp"]
        totals = 2 * SOLVES * plain[0], 2 * (RANK + SOLVES * sketched[0])
        print(f" | {totals[0]:6d} {totals[1]:8d} {ours:6d}", flush=True)


def timed(problem, w0, lam, rtol, curvature, t_eval):
    began = time.process_time()
    sol = gf.gradient_flow(
        problem,
        w0,
        (0, 10 / lam),
        weight_decay=lam,
        rtol=rtol,
        atol=1e-3 * rtol,
        curvature=curvature,
        t_eval=t_eval,
    )
    return sol, time.process_time() - began


def flows(sizes, width, lam=1e-4, rtol=1e-5):
    """Krylov against gram on a tanh network."""
    print(f"\ntanh network, width {width}, lam = {lam:g}, rtol = {rtol:g}: error along the path, CPU seconds")
    print(
        f"{'n':>6} {'d':>8} {'curvature':>10} {'CPU s':>8} {'gradients':>10} {'iterations':>11} {'error':>9}"
    )
    t_eval = np.r_[0, np.logspace(-1, np.log10(10 / lam), 40)]
    for n in sizes:
        case = Tanh(f"tanh-n{n}", n, 20, width, lam, 10 / lam)
        problem = case.model()
        exact, _ = timed(problem, case.w0, lam, 1e-3 * rtol, "gram", t_eval)
        for kind in ("gram", "krylov"):
            sol, seconds = timed(problem, case.w0, lam, rtol, kind, t_eval)
            error = np.abs(sol.w - exact.w).max() / np.abs(exact.w).max()
            work = f"{sol.stats['nfev']:10d} {sol.stats['niter']:11d}"
            print(f"{n:6d} {problem.num_params:8d} {kind:>10} {seconds:8.2f} {work} {error:9.1e}", flush=True)


def logistic(n, d, lam=1e-4, rtol=1e-5, seed=3):
    """A loss without residuals, by Hessian-vector products alone."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    s = np.sign(X @ rng.standard_normal(d))

    def hvp(w, v):
        p = expit(s * (X @ w))
        return X.T @ (p * (1 - p) * (X @ v)) / n

    problem = gf.Objective(
        loss=lambda w: np.logaddexp(0.0, -s * (X @ w)).mean(),
        gradient=lambda w: -(X.T @ (s * expit(-s * (X @ w)))) / n,
        hvp=hvp,
        num_params=d,
    )
    sol, seconds = timed(problem, rng.standard_normal(d), lam, rtol, "auto", [])
    print(f"\nlogistic regression, n = {n}, d = {d}, {sol.settings['curvature']}: {sol.status}")
    work = f"{sol.stats['nfev']} gradients, {sol.stats['nhvp']} Hessian-vector products"
    print(f"{seconds:.1f} CPU s, {sol.stats['nsteps']} steps, {work}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    quick = parser.parse_args().quick
    for spectrum in SPECTRA:
        iterations(600 if quick else 3000, spectrum)
    flows((50, 100) if quick else (200, 1000, 3000), 100 if quick else 1000)
    logistic(50, 10_000 if quick else 100_000)


if __name__ == "__main__":
    main()
