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
from scipy.special import expit

from benchmarks.tanh import Tanh

SHIFTS = (1e-2, 1e-3, 1e-4, 1e-5)
SOLVES = 4  # at each shift
RANK = 300


def regression(n, seed=0):
    """Linear regression whose kernel has eigenvalues from 3e1 to 3e-7, most of them small."""
    rng = np.random.default_rng(seed)
    eigenvalues = 3e1 * 10 ** (-8 * (np.arange(n) / (n - 1)) ** 0.3)
    signs = rng.choice([-1.0, 1.0], (2, n))
    rows = idct(signs[:, :, None] * dct(np.eye(n), norm="ortho", axis=0), norm="ortho", axis=1)
    X = (rows[0] * np.sqrt(eigenvalues)) @ rows[1].T
    return X, gf.models.LinearRegression(X, np.ones(n), scale="sum")


def conjugate_gradients(X, shift, v, error, precondition):
    """Iterations on (X X^T + shift) u = X v until v - X^T u is as accurate as it shall be."""
    u = np.linalg.solve(X @ X.T + shift * np.eye(len(X)), X @ v)
    exact = v - X.T @ u
    x, r = v.copy(), X @ v
    z = precondition(r)
    p, slope = z, r @ z
    for k in range(1, 10_000):
        q = X.T @ p
        image = X @ q + shift * p
        length = slope / (p @ image)
        x -= length * q
        r -= length * image
        if np.linalg.norm(x - exact) <= error * np.linalg.norm(exact):
            return k
        z = precondition(r)
        last, slope = slope, r @ z
        p = z + slope / last * p
    return k


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


def iterations(n):
    """Mean iterations at each shift, at the same achieved error of the solution."""
    X, problem = regression(n)
    rng = np.random.default_rng(1)
    made = core.Curvature(problem._core, [(0, n, 0.0)], "krylov", 2.0**32, RANK)
    made.linearize(np.zeros(n))
    low_rank = nystrom(X, rng)
    print(f"n = {n}: mean iterations at the same error of the solution, rank {RANK}")
    print(f"{'shift':>8} {'error':>8} {'plain':>8} {'Nystrom':>8} {'first':>8} {'later':>8}")
    kernel = X @ X.T
    for shift in SHIFTS:
        counts, errors = [], []
        for _ in range(SOLVES):
            before, v = made.stats["niter"], rng.standard_normal(n)
            x = made.solve(1 / shift, v)
            exact = v - X.T @ np.linalg.solve(kernel + shift * np.eye(n), X @ v)
            counts.append(made.stats["niter"] - before)
            errors.append(np.linalg.norm(x - exact) / np.linalg.norm(exact))
        error = float(np.median(errors))
        plain = conjugate_gradients(X, shift, v, error, lambda r: r)
        sketched = conjugate_gradients(X, shift, v, error, low_rank(shift))
        print(
            f"{shift:8.0e} {error:8.1e} {plain:8d} {sketched:8d} {counts[0]:8d} {counts[-1]:8d}", flush=True
        )


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
    iterations(600 if quick else 3000)
    flows((50, 100) if quick else (200, 1000, 3000), 100 if quick else 1000)
    logistic(50, 10_000 if quick else 100_000)


if __name__ == "__main__":
    main()
