"""Xu, Vardi, Safran, To grok grokking: provable grokking in ridge regression (arXiv 2601.19791).

More features than samples, noise-free targets, weight decay lam: the part of the weights that the samples do
not see decays as exp(-lam t), and nothing else is left to learn. So the train data are known at a time t1
that does not depend on lam, and the test data at t2 = log(R / eps) / (2 lam), R the test loss at the landing:
the bounds of the paper, which are of this order, meet in it. Linear regression, and random features of a ReLU
network.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

n, d, held_out = (20, 100, 300) if "--small" in sys.argv else (100, 1000, 2000)
lams, tolerance = [1e-3, 1e-4, 1e-5, 1e-6], 1e-2
rng = np.random.default_rng(0)


def features(X, W):
    """Return those of a random ReLU layer, of mean square 1."""
    return np.maximum(X @ W.T, 0.0) * np.sqrt(2 / X.shape[1])


X, X_test = rng.standard_normal((n, d)), rng.standard_normal((held_out, d))
W = rng.standard_normal((d, 5))
Z, Z_test = (features(rng.standard_normal((k, 5)), W) for k in (n, held_out))
problems = {
    "linear": (X, X_test, np.zeros(d)),  # the teacher is 0, the start is not
    "random features": (Z, Z_test, np.zeros(d)),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
for row, (name, (A, A_test, teacher)) in zip(axes, problems.items(), strict=True):
    problem = gf.models.LinearRegression(A, A @ teacher, test=(A_test, A_test @ teacher))
    w0 = rng.standard_normal(d) / np.sqrt(d)
    phases = gf.two_phase(problem, w0, lams, s_end=10.0)
    landed = phases.slow["test_loss"][0]
    eps = tolerance * landed
    times = phases.grokking_times(train_tol=tolerance * phases.fast["train_loss"][0], test_tol=eps)
    t1, t2 = (np.array([getattr(t, part) for t in times.values()]) for part in ("train", "test"))
    bound = np.log(landed / eps) / (2 * np.array(lams))  # one exponential, exactly
    gf.plot_flows(phases.flows, beside="train_loss", ax=row[0])
    row[0].set_ylim(bottom=1e-12)
    row[1].set_title(name)
    gf.plot_law(lams, {"test, $t_2$": t2, "train, $t_1$": t1}, ax=row[1])
    row[1].plot(lams, bound, "k:", label=r"$\log(R/\epsilon)/2\lambda$")
    row[1].legend(frameon=False)
    slope = np.polyfit(np.log(lams), np.log(t2), 1)[0]
    print(f"{name}: t1 = {t1.min():.4g} to {t1.max():.4g} for all lam")
    apart = abs(t2 / bound - 1).max()
    print(f"{name}: t2 ~ lam^{slope:.7f}; within {apart:.1e} of log(R / eps) / (2 lam)")
figure.savefig("xu2026.png")
