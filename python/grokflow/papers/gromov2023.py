"""Gromov, Grokking modular arithmetic (arXiv 2301.02679).

A two-layer network with the quadratic activation and the squared loss learns a + b modulo p from a part of
the table. It knows that part by heart long before it adds. The weights that add are waves: each neuron has
one frequency, which the inverse participation ratio of its Fourier spectrum tells: 1 for one wave, small for
noise.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

p, width, fraction, weight_decay, t_end = (
    (11, 40, 0.7, 3e-4, 1e4) if "--small" in sys.argv else (47, 160, 0.5, 1e-4, 1e5)
)
train, test = gf.modular_addition(p, fraction=fraction)
problem = gf.models.MLP(
    *train, widths=(width,), activation="quadratic", bias=False, scale=1 / len(train[0]), test=test
)
std = 0.3 * (100 * 23 / (width * p)) ** (1 / 6)  # the outputs, cubic in w, then begin equally large for all p
w0 = std * np.random.default_rng(0).standard_normal(problem.num_params)


def embedding(w):
    """Return what each neuron makes of a: shape (p, width)."""
    return problem.unflatten(w)["W1"][:, :p].T


def spectra(w):
    """Return the power of each frequency but 0 in the weights of each neuron: shape (p // 2, width)."""
    return np.abs(np.fft.rfft(embedding(w), axis=0)[1:]) ** 2


def participation(t, w):
    """Return the inverse participation ratio of the spectra, the mean over the neurons by their power."""
    power = spectra(w)
    total = power.sum(axis=0)
    return np.average(np.sum((power / total) ** 2, axis=0), weights=total)


observe = {name: name for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "norm")}
observe["participation"] = participation
sol = gf.gradient_flow(
    problem,
    w0,
    (0, t_end),
    weight_decay=weight_decay,
    method="ROCK2",
    rtol=1e-3,
    atol=1e-6,
    observe=observe,
    save_states=False,
)
known, adds = (gf.crossing_time(sol, f"{part}_accuracy", above=0.95) for part in ("train", "test"))
print(f"p = {p}: 95% of the train data at t = {known:.3g}, of the test data at {adds:.3g}")
print(
    f"test accuracy {sol['test_accuracy'][-1]:.3f}; participation {sol['participation'][0]:.2f} -> ", end=""
)
print(f"{sol['participation'][-1]:.2f}; {sol.stats['nfev']} gradients")

figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained")
for part in ("train", "test"):
    axes[0].semilogx(sol.t[1:], sol[f"{part}_accuracy"][1:], label=part)
axes[0].axhline(1 / p, color="gray", lw=0.8, ls=":", label="chance")
axes[0].set(xlabel="$t$", ylabel="accuracy", xlim=(1, t_end), title=f"$a + b$ modulo {p}")
axes[0].legend(frameon=False)
axes[1].semilogx(sol.t[1:], sol["participation"][1:], "k")
axes[1].set(xlabel="$t$", ylabel="inverse participation ratio", xlim=(1, t_end), ylim=(0, 1.02))
power = spectra(sol.final)
alive = power[:, power.sum(axis=0) > 1e-3 * power.sum(axis=0).max()]
share = (alive / alive.sum(axis=0))[:, np.argsort(alive.argmax(axis=0))]
extent = (0, share.shape[1], 0.5, len(share) + 0.5)
axes[2].imshow(share, aspect="auto", origin="lower", cmap="Blues", extent=extent)
axes[2].set(xlabel="neuron, sorted", ylabel="frequency", title="Fourier spectra in the end")
figure.savefig("gromov2023.png")
