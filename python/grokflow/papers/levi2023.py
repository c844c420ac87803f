"""Levi, Beck, Bar-Sinai, Grokking in linear estimators: a solvable model (arXiv 2310.16441).

A linear student learns a linear teacher from N Gaussian samples in d dimensions, without weight decay. With
the eigenvalues s of the sample covariance the losses are sums of exp(-2 s t), and an accuracy, the share of
samples with a squared error below eps, turns their slow end into a late jump: the test data are known later
than the train data, the more so the closer N is to d. Nothing is learnt at that moment: the loss falls
smoothly all the time.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

d, held_out = (50, 500) if "--small" in sys.argv else (400, 4000)
eps, ratios = 1e-3, (1.1, 1.5, 3.0)
rng = np.random.default_rng(42)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
losses, shares, worst = {}, {}, 0.0
for ratio in ratios:
    n = int(ratio * d)
    X, X_test = (rng.standard_normal((k, d)) / np.sqrt(d) for k in (n, held_out))
    teacher, w0 = rng.standard_normal((2, d))
    y, y_test = X @ teacher, X_test @ teacher
    problem = gf.models.LinearRegression(X, y, test=(X_test, y_test))

    def share(A, b):
        """Return the observable that the paper calls accuracy."""
        return lambda t, w: np.mean((A @ w - b) ** 2 < eps)

    observe = {"train_loss": "train_loss", "test_loss": "test_loss"}
    observe |= {"train_accuracy": share(X, y), "test_accuracy": share(X_test, y_test)}
    grid = np.concatenate([[0.0], np.geomspace(1.0, 1e7, 400)])
    sol = gf.gradient_flow(problem, w0, (0, 1e7), weight_decay=0.0, t_eval=grid, observe=observe)

    s, V = np.linalg.eigh(X.T @ X / n)  # the closed form
    modes = np.exp(-np.outer(sol.t, s)) * (V.T @ (w0 - teacher))
    train, test = 0.5 * (modes**2 * s).sum(1), 0.5 * (modes**2).sum(1) / d
    seen = train > 1e-8
    worst = max(worst, np.abs(sol["train_loss"][seen] / train[seen] - 1).max())
    known, general = (gf.crossing_time(sol, f"{part}_accuracy", above=0.95) for part in ("train", "test"))
    print(f"N/d = {ratio}: 95% of the train data at t = {known:.3g}, of the test data at {general:.3g}")
    losses[f"$N/d$ = {ratio}"] = shares[f"$N/d$ = {ratio}"] = sol
    left.plot(sol.t[1:], test[1:], "k", lw=0.6, zorder=3)
print(f"train loss against the closed form: within {worst:.1e} (relative, down to 1e-8)")
gf.plot_flows(losses, beside="train_loss", ax=left)
left.plot([], [], "k", lw=0.6, label="closed form")
left.set_ylim(1e-12, 10)
left.legend(frameon=False, loc="lower left")
gf.plot_flows(shares, "test_accuracy", beside="train_accuracy", ax=right)
figure.savefig("levi2023.png")
