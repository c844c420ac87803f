"""Lyu et al., Dichotomy of early and late phase implicit biases can induce grokking (arXiv 2311.18817).

From a large start alpha, with small weight decay lam, homogeneous models first follow their tangent kernel,
and at the sharp time t = log(alpha) / lam go over to the solution of least norm. Regression and
classification by the diagonal network u^2 - v^2 with a 3-sparse teacher, and completion of a 97 x 97 matrix
of rank 1 by U V^T from the identity: the slope of lam t against log alpha is 1.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

small = "--small" in sys.argv
D, n, held_out, large, size = (200, 60, 200, 1000, 12) if small else (10_000, 256, 200, 100_000, 97)
lam, alphas = 1e-3, np.array([2.0, 8.0, 32.0, 128.0])
options = {"weight_decay": lam, "rtol": 1e-4, "save_states": False}


def sparse(d, alpha, loss="squares"):
    """Return the flow of u^2 - v^2 from u = v = alpha, as 2 a b with a, b = (u + v, u - v)/sqrt 2."""
    rng = np.random.default_rng(0)
    X, X_test = rng.choice([-1.0, 1.0], (n, d)), rng.choice([-1.0, 1.0], (held_out, d))
    y, y_test = (np.sign(x[:, :3].sum(1)) if loss == "logistic" else x[:, :3].sum(1) for x in (X, X_test))
    problem = gf.models.DiagonalLinearNetwork(2 * X, y, loss=loss, test=(2 * X_test, y_test))
    w0 = np.r_[np.full(d, np.sqrt(2) * alpha), np.zeros(d)]
    labels = loss == "logistic"
    observe = ["train_loss", "test_loss", *["train_accuracy", "test_accuracy"] * labels]
    grid = np.r_[0.0, np.geomspace(1e-5, 0.5 / lam, 60), np.linspace(0.6, 15.0, 140) / lam]
    own = {"t_eval": grid, "observe": observe, "curvature": "krylov" if labels else "gram"}
    return gf.gradient_flow(problem, w0, (0, 15 / lam), **own, **options)


def completion(alpha):
    """Return the flow of U V^T from U = V = alpha I, with a fifth of the entries of a matrix of rank 1."""
    rng = np.random.default_rng(0)
    target = np.outer(*rng.uniform(-np.sqrt(3), np.sqrt(3), (2, size)))
    rows, cols = np.divmod(rng.permutation(size**2), size)
    train, test = np.split(np.arange(size**2), [size**2 // 5 if size > 20 else size**2 // 2])
    entries = [(rows[part], cols[part], target[rows[part], cols[part]]) for part in (train, test)]
    problem = gf.models.MatrixCompletion(
        *entries[0], shape=(size, size), width=size, test=entries[1], scale="sum"
    )
    w0 = alpha * np.tile(np.eye(size).ravel(), 2)
    observe = {"train_loss": "train_loss", "test_loss": "test_loss", "singular values": "singular_values"}
    sol = gf.gradient_flow(problem, w0, (0, 10 / lam), observe=observe, **options)
    return sol, 0.1 * 0.5 * np.sum(entries[1][2] ** 2)  # a tenth of the loss of the matrix 0


def late(sol, level=None):
    """Return lam t from which on the test loss stays below a level, a tenth of the first by default."""
    return lam * gf.crossing_time(sol, "test_loss", below=level or 0.1 * sol["test_loss"][0])


flows = {alpha: sparse(D, alpha) for alpha in alphas}
labels = {alpha: sparse(D // 2, alpha, "logistic") for alpha in alphas[:3]}
matrices = {alpha: completion(alpha) for alpha in (3.0, 10.0, 30.0)}
wide = sparse(large, alphas[2])
law = {
    "regression": np.array([late(sol) for sol in flows.values()]),
    "classification": lam
    * np.array([gf.crossing_time(sol, "test_accuracy", above=0.9) for sol in labels.values()]),
    "completion": np.array([late(*matrix) for matrix in matrices.values()]),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 6.6), layout="constrained")
gf.plot_flows(flows, beside="train_loss", symbol=r"\alpha", ax=axes[0, 0])
axes[0, 0].set_ylim(bottom=1e-8)
gf.plot_flows(labels, "test_accuracy", beside="train_accuracy", symbol=r"\alpha", ax=axes[0, 1])
matrices[10.0][0].plot_components("singular values", highlight=[0], ax=axes[1, 0])
for (name, times), at in zip(law.items(), (alphas, alphas[:3], list(matrices)), strict=True):
    gf.plot_law(at, {name: times}, xlabel=r"$\alpha$", ylabel=r"late $\lambda t$", y="linear", ax=axes[1, 1])
    print(f"{name}: lam t = {np.polyfit(np.log(at), times, 1)[0]:.3f} log(alpha) + const (law: 1)")
again = late(wide)
print(f"regression with {large} features, alpha = {alphas[2]:g}: lam t = {again:.3f}")
figure.savefig("lyu2023.png")
