"""Nanda et al., Progress measures for grokking via mechanistic interpretability (arXiv 2301.05217).

A one-layer transformer of JAX reads a, b and "=", and tells a + b modulo p. It knows its train pairs by heart
early, and adds late; by then its embedding is made of a few frequencies, and the others have been cleaned up
by weight decay. Gradient flow on the cross-entropy takes the place of AdamW. Needs JAX.
"""

import sys

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import grokflow as gf

p, dim, heads, weight_decay = (5, 8, 2, 1e-1) if "--small" in sys.argv else (23, 32, 4, 1e-3)
rng = np.random.default_rng(0)
pairs = np.array([(a, b, p) for a in range(p) for b in range(p)])
sums = pairs[:, :2].sum(axis=1) % p
train, test = np.split(rng.permutation(len(pairs)), [int(0.6 * len(pairs))])


def draw(*shape, fan_in=dim):
    """Return random weights that keep the size of what comes in."""
    return rng.standard_normal(shape) / np.sqrt(fan_in)


shapes = {"embed": (p + 1, dim), "position": (3, dim), "qkv": (dim, 3 * dim), "out": (dim, dim)}
shapes |= {"up": (dim, 4 * dim), "down": (4 * dim, dim), "head": (dim, p)}
params = {name: draw(*shape, fan_in=4 * dim if name == "down" else dim) for name, shape in shapes.items()}
params |= {"up_bias": np.zeros(4 * dim), "down_bias": np.zeros(dim)}


def apply(P, tokens):
    """Return the logits of a + b, shape (n, p)."""
    z = P["embed"][tokens] + P["position"]
    n = z.shape[0]
    q, k, v = jnp.moveaxis((z @ P["qkv"]).reshape(n, 3, 3, heads, -1), 2, 0)
    attention = jax.nn.softmax(jnp.einsum("nihd,njhd->nhij", q, k) / np.sqrt(dim / heads))
    z = z + jnp.einsum("nhij,njhd->nihd", attention, v).reshape(n, 3, dim) @ P["out"]
    z = z[:, -1]
    z = z + jax.nn.gelu(z @ P["up"] + P["up_bias"]) @ P["down"] + P["down_bias"]
    return z @ P["head"]


problem = gf.from_jax(
    apply, params, pairs[train], sums[train], loss="cross_entropy", test=(pairs[test], sums[test])
)
observe = {name: name for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")}
observe["power"] = gf.observables.fourier_power(lambda w: np.asarray(problem.params(w)["embed"])[:p], p)
sol = gf.gradient_flow(
    problem,
    problem.initial_weights(),
    (0, 10 / weight_decay),
    weight_decay=weight_decay,
    rtol=1e-4,
    curvature=gf.Krylov(rank=50),
    observe=observe,
)
known, adds = (gf.crossing_time(sol, f"{part}_accuracy", above=0.95) for part in ("train", "test"))
print(f"p = {p}: 95% of the train pairs at t = {known:.3g}, of the test pairs at {adds:.3g}")
shares = np.sort(sol["power"], axis=1)[:, ::-1]
print(
    f"the five strongest frequencies: {shares[0, :5].sum():.0%} of the power of the embedding at first, ",
    end="",
)
print(f"{shares[-1, :5].sum():.0%} in the end; test accuracy {sol['test_accuracy'][-1]:.3f}")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for part in ("train", "test"):
    left.semilogx(sol.t[1:], sol[f"{part}_accuracy"][1:], label=part)
left.set(xlabel="$t$", ylabel="accuracy", xlim=(1, sol.t_final), title=f"$a + b$ modulo {p}, transformer")
left.legend(frameon=False)
sol.plot_components("power", highlight=np.argsort(sol["power"][-1])[-5:], ax=right)
right.set(xlim=(1, sol.t_final), ylabel="share of each frequency")
figure.savefig("nanda2023.png")
