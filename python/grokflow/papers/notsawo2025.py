"""Tikeng Notsawo et al., Grokking beyond the Euclidean norm of model parameters (arXiv 2506.05718).

Whatever property the test data want, a small regularizer that favours it groks: l1 for sparse vectors, the
nuclear norm for matrices of low rank, with a delay of order 1 / lam. Here both come through factors: weight
decay on u and v is the l1 norm of u v, on U and V the nuclear norm of U V^T. Weight decay on the vector
itself (l2) never finds it.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

D, n, size, measured = (20, 12, 6, 25) if "--small" in sys.argv else (100, 40, 20, 160)
lams = [1e-2, 1e-3, 1e-4, 1e-5]
rng = np.random.default_rng(3)
X, X_test = rng.standard_normal((n, D)), rng.standard_normal((500, D))
teacher = np.zeros(D)
teacher[:3] = [1.0, -2.0, 1.5]
sparse = (X, X @ teacher), (X_test, X_test @ teacher)
A, A_test = (rng.standard_normal((k, size, size)) for k in (measured, 200))
low = np.outer(*rng.standard_normal((2, size)))
problems = {
    "sparse, $u \\odot v$ ($\\ell_1$)": gf.models.DiagonalLinearNetwork(*sparse[0], test=sparse[1]),
    "low rank, $UV^\\top$ (nuclear)": gf.models.MatrixSensing(
        A, np.sum(A * low, axis=(1, 2)), width=size, test=(A_test, np.sum(A_test * low, axis=(1, 2)))
    ),
    "sparse, $w$ ($\\ell_2$)": gf.models.LinearRegression(*sparse[0], test=sparse[1]),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
law = {}
for ax, (name, problem) in zip(axes.flat, problems.items(), strict=False):
    w0 = problem.initial_weights(std=0.5, seed=1)
    flows = {lam: gf.gradient_flow(problem, w0, (0, 20 / lam), weight_decay=lam) for lam in lams}
    late = [gf.crossing_time(sol, "test_loss", below=1e-2 * sol["test_loss"][0]) for sol in flows.values()]
    gf.plot_flows(flows, beside="train_loss", ax=ax)
    ax.set_ylim(1e-10, 1e3)
    ax.set_title(name)
    ends = ", ".join(f"{sol['test_loss'][-1] / sol['test_loss'][0]:.1e}" for sol in flows.values())
    print(f"{name}: test loss in the end, over the first: {ends}")
    if np.isfinite(late).all():
        law[name.partition(",")[0]] = late
        print(f"{name}: t ~ lam^{np.polyfit(np.log(lams[1:]), np.log(late[1:]), 1)[0]:.3f}")
gf.plot_law(lams, law, ylabel="time at which the test loss is 1%", ax=axes[1, 1])
figure.savefig("notsawo2025.png")
