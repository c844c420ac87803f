"""Woodworth et al., Kernel and rich regimes (2020); Pesme, Flammarion, Saddle-to-saddle dynamics (2023).

The diagonal network u^2 - v^2 without weight decay, started at u = v = alpha: for large alpha it finds the
interpolator of least l2 norm, for small alpha that of least l1 norm. As alpha goes to 0 it jumps from saddle
to saddle at times t = tau log(1 / alpha), which an algorithm of Pesme and Flammarion (in the spirit of LARS)
gives; here from alpha = 1e-100.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import nnls

import grokflow as gf

n, D = (12, 20) if "--small" in sys.argv else (40, 100)
rng = np.random.default_rng(5)
X, X_test = rng.standard_normal((n, D)), rng.standard_normal((500, D))
teacher = np.zeros(D)
teacher[[D // 10, D // 3, D // 2]] = [3.0, -2.0, 1.0]
y = X @ teacher
# u^2 - v^2 = 2 a b with a, b = (u + v, u - v)/sqrt 2: a rotation, which the flow does not see
problem = gf.models.DiagonalLinearNetwork(2 * X, y, test=(2 * X_test, X_test @ teacher))


def start(alpha):
    """Return u = v = alpha."""
    return np.r_[np.full(D, np.sqrt(2) * alpha), np.zeros(D)]


def saddles(count):
    """Return the jump times in units of log(1 / alpha), and the saddles between them."""
    beta, dual, tau, times, found = np.zeros(D), np.zeros(D), 0.0, [], []
    for _ in range(count):
        pull = 2 * X.T @ (y - X @ beta) / n  # d(dual)/d(tau); u or v is of order 1 where |dual| is 1
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(np.abs(pull) > 1e-9, (np.sign(pull) - dual) / pull, np.inf)
        if (wait := np.where(wait > 1e-12, wait, np.inf)).min() == np.inf:
            break
        tau, dual = tau + wait.min(), dual + wait.min() * pull
        side = np.where(np.abs(dual) > 1 - 1e-9, np.sign(dual), 0.0)
        free = side != 0
        beta = np.zeros(D)
        beta[free] = side[free] * nnls(X[:, free] * side[free], y)[0]
        times, found = [*times, tau], [*found, beta]
    return np.array(times), np.array(found)


scales = np.geomspace(1e-6, 10, 15)
l2, ends = np.linalg.lstsq(X, y, rcond=None)[0], []
for alpha in scales:
    landing = gf.limit_map(problem, start(alpha))
    ends.append(2 * landing.w[:D] * landing.w[D:])
risk = [np.mean((X_test @ (beta - teacher)) ** 2) for beta in ends]
print(f"alpha = {scales[-1]:g}: {np.linalg.norm(ends[-1] - l2):.1e} from the least l2 norm")
print(f"alpha = {scales[0]:g}: l1 norm {np.abs(ends[0]).sum():.4f}; teacher {np.abs(teacher).sum():.4f}")

times, points = saddles(8)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
axes[0].loglog(scales, risk, "o-")
axes[0].axhline(np.mean((X_test @ (l2 - teacher)) ** 2), color="gray", ls=":", label="least $\\ell_2$ norm")
axes[0].set(xlabel=r"$\alpha$", ylabel="test error where it lands")
axes[0].legend(frameon=False)
for ax, alpha in zip(axes[1:], (1e-3, 1e-100), strict=True):
    unit = np.log(1 / alpha)
    grid = np.linspace(0.0, 1.3 * times[-1], 800) * unit
    sol = gf.gradient_flow(problem, start(alpha), (0, grid[-1]), weight_decay=0.0, t_eval=grid)
    path = 2 * sol.w[:, :D] * sol.w[:, D:]
    ax.plot(sol.t / unit, path, lw=1.2)
    steps = np.r_[0, times, grid[-1] / unit], np.r_[[np.zeros(D)], points, points[-1:]]
    ax.step(*steps, "k", lw=0.6, where="post", label=["saddles"] + [None] * (D - 1))
    ax.set(xlabel=r"$t / \log(1/\alpha)$", ylabel=r"$u^2 - v^2$")
    ax.set_title(f"$\\alpha = 10^{{{np.log10(alpha):.0f}}}$")
    away = np.abs(sol.t[:, None] / unit - times).min(axis=1) > 0.03 * times[-1]
    predicted = np.r_[[np.zeros(D)], points][np.searchsorted(times, sol.t / unit)]
    apart = abs(path - predicted)[away].max()
    print(f"alpha = {alpha:g}: between the jumps within {apart:.1e} of the saddles")
axes[2].legend(frameon=False, loc="lower left")
figure.savefig("woodworth2020.png")
