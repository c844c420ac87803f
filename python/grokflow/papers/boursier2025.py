"""Boursier, Pesme, Dragomir, A theoretical framework for grokking (arXiv 2505.20172).

For small weight decay lam the flow lands on the manifold of minimisers and then, at t of order 1 / lam,
follows the Riemannian flow of the norm on it. Completion of a 20 x 20 matrix of rank 3, as in the paper:
plateau and drop of the norm, singular values, the test loss in slow time, where the drop is not sudden; and
the distance to the drift on a tanh network, which falls as lam. `grokflow reproduce linear diagonal tanh
relu` runs the paper's other figures.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

small = "--small" in sys.argv
size, width, observed, singular = (6, 3, 20, [6.0]) if small else (20, 10, 220, [24.5, 17.6, 10.7])
lams = [1e-2, 1e-3, 1e-4]
rng = np.random.default_rng([26, 1])
left, right = (np.linalg.qr(rng.standard_normal((size, len(singular))))[0] for _ in range(2))
matrix = left * singular @ right.T
rows, cols = np.divmod(rng.permutation(size**2), size)
train, test = np.split(np.arange(size**2), [observed])
entries = [(rows[part], cols[part], matrix[rows[part], cols[part]]) for part in (train, test)]
problem = gf.models.MatrixCompletion(*entries[0], shape=(size, size), width=width, scale=2.0, test=entries[1])
w0 = problem.initial_weights(std=1.0, seed=26)
observe = ["train_loss", "test_loss", "norm", "singular_values"]
flows = {lam: gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, observe=observe) for lam in lams}
sol = flows[1e-3]
values = sol["singular_values"][-1]
plateau = sol["norm"][np.searchsorted(sol.t, 1.0)] ** 2
end = sol["norm"][-1] ** 2
print(f"lam = 1e-3: |w|^2 = {plateau:.0f} on the plateau (paper: 310), {end:.1f} in the end (106)")
print(
    f"singular values {', '.join(f'{x:.2f}' for x in values[: len(singular)])} (paper: 24.5, 17.6, 10.7), ",
    end="",
)
print(f"the others below {values[len(singular) :].max():.2g}")

n, p, neurons = (8, 4, 20) if small else (50, 10, 50)
directions = rng.standard_normal((3, p))
directions *= 1.5 / np.linalg.norm(directions, axis=1, keepdims=True)
X = rng.standard_normal((n, p))
net = gf.models.TwoLayerNetwork(X, np.tanh(X @ directions.T) @ [1.0, -1.0, 1.0], width=neurons, scale="sum")
rates = [1e-2, 1e-3, 1e-4, 1e-5]
phases = gf.two_phase(net, net.initial_weights(std=1.0, seed=26), rates, rtol=1e-7)
apart = [phases.distance[lam] for lam in rates]
slope = np.polyfit(np.log(rates[1:]), np.log(apart[1:]), 1)[0]
print(f"tanh network: distance of flow and drift ~ lam^{slope:.3f}")

figure, axes = plt.subplots(2, 2, figsize=(9, 6.8), layout="constrained")
gf.plot_flows(flows, beside="train_loss", ax=axes[0, 0])
axes[0, 0].set_ylim(bottom=1e-6)
sol.plot_components("singular_values", highlight=range(len(singular)), ax=axes[0, 1])
for value in singular:
    axes[0, 1].axhline(value, color="gray", lw=0.8, ls=":")
for (lam, flow), width in zip(flows.items(), (5, 3, 1), strict=True):
    axes[1, 0].plot(lam * flow.t, flow["test_loss"], lw=width, label=f"$\\lambda$ = {lam:g}")
landed = sol["test_loss"][np.searchsorted(sol.t, 1.0)]
axes[1, 0].set(
    xlim=(0, 6), ylim=(0, 1.1 * landed), xlabel=r"slow time $\lambda t$, linear", ylabel="test loss"
)
axes[1, 0].legend(frameon=False)
gf.plot_law(rates[1:], {"tanh network": apart[1:]}, ylabel="largest distance to the drift", ax=axes[1, 1])
figure.savefig("boursier2025.png")
