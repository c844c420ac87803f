"""Musat, The geometry of grokking: norm minimisation on the zero-loss manifold (arXiv 2511.01938).

After the landing the update dw/dt is parallel to -P w, with P the projector on the tangent space of the
zero-loss set: weight decay lowers the norm there, and the loss undoes what leaves it. The cosine of the two
is 1 up to an angle of order lam, so that 1 - cos falls as lam^2, while the gradient alone (weight decay's
direction, -w) points elsewhere. A diagonal linear network, and a tanh network as the paper's examples are.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

small = "--small" in sys.argv
rng = np.random.default_rng(11)


def diagonal():
    """Return a sparse problem and its start."""
    n, d = (10, 20) if small else (40, 100)
    X, X_test = rng.standard_normal((n, d)), rng.standard_normal((400, d))
    y, y_test = (x[:, :3] @ [1.0, -2.0, 0.5] for x in (X, X_test))
    problem = gf.models.DiagonalLinearNetwork(X, y, test=(X_test, y_test))
    return problem, problem.initial_weights(std=0.6, seed=0)


def tanh():
    """Return a network with the sum of squares, and its start."""
    n, width = (8, 20) if small else (20, 40)
    X, X_test = rng.standard_normal((n, 3)), rng.standard_normal((400, 3))
    y, y_test = (np.tanh(x @ [1.0, -1.0, 0.5]) for x in (X, X_test))
    problem = gf.models.TwoLayerNetwork(X, y, width=width, scale="sum", test=(X_test, y_test))
    return problem, problem.initial_weights(seed=0)


lams = [1e-2, 1e-3, 1e-4, 1e-5]
figure, axes = plt.subplots(2, 3, figsize=(12, 6.2), layout="constrained")
for row, make in zip(axes, (diagonal, tanh), strict=True):
    problem, w0 = make()
    flows, apart = {}, []
    for lam in lams:
        cosine = gf.observables.update_cosine(problem, lam)
        observe = {
            "train_loss": "train_loss",
            "test_loss": "test_loss",
            "cosine": cosine,
            "1 - cosine": lambda t, w, cosine=cosine: max(1.0 - cosine(t, w), 1e-16),
            "$\\|Pw\\|$": gf.observables.tangent_norm(problem),
        }
        flows[lam] = gf.gradient_flow(
            problem, w0, (0, 10 / lam), weight_decay=lam, rtol=1e-8, observe=observe, save_states=False
        )
        s = lam * flows[lam].t
        apart.append(flows[lam]["1 - cosine"][(s > 0.3) & (s < 1.0)].max())
    for ax, name in zip(row, ("cosine", "1 - cosine", "$\\|Pw\\|$"), strict=True):
        gf.plot_flows(flows, name, yscale="linear" if name == "cosine" else "log", ax=ax)
        ax.set_title(make.__name__)
    slope = np.polyfit(np.log(lams[1:]), np.log(apart[1:]), 1)[0]
    print(f"{make.__name__}: largest 1 - cos for 0.3 < s < 1: " + ", ".join(f"{x:.1e}" for x in apart))
    print(f"{make.__name__}: 1 - cos ~ lam^{slope:.2f} from lam = {lams[1]:g} on")
figure.savefig("musat2025.png")
