"""Kumar et al., Grokking as the transition from lazy to rich training dynamics (arXiv 2310.06110).

No weight decay: a network whose outputs are scaled by alpha first fits with the features of its start (lazy),
which do not fit the quadratic target well, and learns those of the target later (rich). The larger alpha, the
lazier, up to where nothing is learnt at all. Seen in the test loss, which rises before it falls, in the
alignment of the tangent kernel with the targets, and in its distance from the kernel of the start.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

D, n, N = (15, 40, 30) if "--small" in sys.argv else (100, 450, 500)
bend, alphas = 0.2, [0.5, 2.0, 10.0]  # activation h + bend h^2 / 2
rng = np.random.default_rng(7)
direction = rng.standard_normal(D)
direction *= np.sqrt(D) / np.linalg.norm(direction)
X, X_test = (rng.standard_normal((k, D)) / np.sqrt(D) for k in (n, 1000))
y, y_test = (0.5 * (x @ direction) ** 2 for x in (X, X_test))
W0 = np.random.default_rng(3).standard_normal((N, D))


def hidden(w, A):
    """Return the pre-activations, (samples, N)."""
    return A @ w.reshape(N, D).T


def network(w, A):
    """Return the mean over the neurons, less that of the start."""
    return sum(sign * (h + bend / 2 * h**2).mean(1) for sign, h in ((1, hidden(w, A)), (-1, A @ W0.T)))


def problem(alpha):
    """Return the sum of squares of alpha times the network; only the hidden weights learn."""

    def slope(w):
        return 1 + bend * hidden(w, X)

    return gf.LeastSquares(
        residual=lambda w: alpha * network(w, X) - y,
        jvp=lambda w, v: alpha / N * (slope(w) * hidden(v, X)).sum(1),
        vjp=lambda w, u: alpha / N * ((slope(w) * u[:, None]).T @ X).ravel(),
        gram=lambda w: (alpha / N) ** 2 * (slope(w) @ slope(w).T) * (X @ X.T),
        num_params=N * D,
        num_residuals=n,
        scale=N / alpha**2 / n,
    )


flows = {}
for alpha in alphas:
    own = problem(alpha)
    observe = {
        "train loss": lambda t, w, alpha=alpha: np.mean((alpha * network(w, X) - y) ** 2),
        "test loss": lambda t, w, alpha=alpha: np.mean((alpha * network(w, X_test) - y_test) ** 2),
        "kernel alignment": gf.observables.kernel_alignment(own, y),
        "kernel similarity": gf.observables.kernel_similarity(own, W0.ravel()),
    }
    options = {"rtol": 1e-4, "observe": observe, "save_states": False}
    flows[alpha] = sol = gf.gradient_flow(own, W0.ravel(), (0, 1e5), weight_decay=0.0, **options)
    test, alignment = sol["test loss"], sol["kernel alignment"]
    print(
        f"alpha = {alpha}: test loss {test[0]:.3f}, at most {test.max():.3f}, in the end {test[-1]:.3f}; "
        f"alignment {alignment[0]:.3f} -> {alignment[-1]:.3f}"
    )
figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained")
gf.plot_flows(flows, "test loss", beside="train loss", symbol=r"\alpha", ax=axes[0])
axes[0].set_yscale("log")
axes[0].set_ylim(bottom=1e-5)
gf.plot_flows(flows, "kernel alignment", symbol=r"\alpha", ax=axes[1])
gf.plot_flows(flows, "kernel similarity", symbol=r"\alpha", ax=axes[2])
figure.savefig("kumar2024.png")
