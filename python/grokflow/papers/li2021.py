"""Li, Wang, Arora, What happens after SGD reaches zero loss? (arXiv 2110.06914).

On the minimisers label noise of size sigma moves gradient descent along -grad tr(Hess F) / 4, at the clock k
eta^2 sigma^2 / n of k steps eta. On the diagonal network u^2 - v^2 the trace is a weighted l1 norm: the drift
finds the sparse teacher from few samples, where the landing has not. With inputs of 1 and -1 the trace is 4
||w||^2: the drift of weight decay at eight times its speed. Dots: gradient descent with noisy labels itself.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

n, D, steps = (12, 20, 20_000) if "--small" in sys.argv else (40, 100, 500_000)
rng = np.random.default_rng(5)
X, X_test = rng.choice([-1.0, 1.0], (n, D)), rng.choice([-1.0, 1.0], (500, D))
teacher = np.zeros(D)
teacher[:3] = [1.0, -1.0, 1.0]
# u^2 - v^2 = 2 a b with a, b = (u + v, u - v)/sqrt 2: a rotation, which flow and decay do not see
problem = gf.models.DiagonalLinearNetwork(2 * X, X @ teacher, test=(2 * X_test, X_test @ teacher))
landing = gf.limit_map(problem, np.r_[np.full(D, 2**0.5), np.zeros(D)])  # from u = v = 1
observe = {
    "test_loss": "test_loss",
    "coefficients": lambda t, w: 2 * w[:D] * w[D:],
    "trace": lambda t, w: np.sum(problem.jacobian(w) ** 2) / n,
}
drifts = {
    "trace of the Hessian": gf.norm_flow(
        problem, landing.w, (0, 5), regularizer="hessian_trace", observe=observe
    ),
    "norm (weight decay)": gf.norm_flow(problem, landing.w, (0, 40), observe=observe),
}
trace, norm = drifts.values()
slower = gf.norm_flow(problem, landing.w, (0, 4), t_eval=[0.0, 4.0])
faster = gf.norm_flow(problem, landing.w, (0, 0.5), regularizer="hessian_trace", t_eval=[0.0, 0.5])
test = trace["test_loss"]
print(f"test loss: {test[0]:.2g} at the landing, {test[-1]:.1e} in the end")
print(
    f"drift of the trace at s against that of the norm at 8 s: {abs(slower.final - faster.final).max():.1e}"
)

eta, sigma, every = 2e-3, 5.0, steps // 100
a, b = landing.w[:D].copy(), landing.w[D:].copy()
means, total = [], np.zeros(D)
for k in range(1, steps + 1):
    noisy = 2 * X @ (a * b) - X @ teacher - sigma * rng.standard_normal(n)
    slope = 2 * X.T @ noisy / n
    a, b = a - eta * slope * b, b - eta * slope * a
    total += 2 * a * b / every
    if k % every == 0:
        means.append(total)
        total = np.zeros(D)
means = np.array(means)
clock = (np.arange(1, 101) - 0.5) * every * eta**2 * sigma**2 / (4 * n)  # of -grad tr(Hess F)
limit = np.stack([np.interp(clock, trace.t, trace["coefficients"][:, j]) for j in range(3)], axis=1)
rms = np.sqrt(np.mean((means[:, :3] - limit) ** 2))
print(f"label noise against the drift: coefficients of 1 differ by {rms:.3f} (rms)")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
gf.plot_flows(drifts, ax=left)
left.set_ylim(bottom=1e-10)
trace.plot_components("coefficients", highlight=range(3), ax=right)
for j in range(3):
    right.plot(clock, means[:, j], "k.", ms=2, label=None if j else "gradient descent with label noise")
right.set_xlim(1e-2, 5)
right.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
figure.savefig("li2021.png")
