"""A transformer of JAX that groks modular addition.

One layer reads a, b and "=", and tells a + b modulo p (the task of Power et al., arXiv:2201.02177; see also
Nanda et al., arXiv:2301.05217). It knows its training pairs by heart at t = 300, and adds at t = 10^4.

python examples/jax_transformer.py [--small]
"""

import sys

import grokflow as gf
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

small = "--small" in sys.argv
p, dim, heads, weight_decay = (5, 8, 2, 1e-2) if small else (23, 32, 4, 1e-3)
rng = np.random.default_rng(0)
pairs = np.array([(a, b, p) for a in range(p) for b in range(p)])
sums = pairs[:, :2].sum(axis=1) % p
order = rng.permutation(len(pairs))
train, test = np.split(order, [int(0.6 * len(pairs))])


def draw(*shape, fan_in=dim):
    """Return random weights that keep the size of what comes in."""
    return rng.standard_normal(shape) / np.sqrt(fan_in)


params = {
    "embed": draw(p + 1, dim),
    "position": draw(3, dim),
    "qkv": draw(dim, 3 * dim),
    "out": draw(dim, dim),
    "up": draw(dim, 4 * dim),
    "up_bias": np.zeros(4 * dim),
    "down": draw(4 * dim, dim, fan_in=4 * dim),
    "down_bias": np.zeros(dim),
    "head": draw(dim, p),
}


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
sol = gf.gradient_flow(
    problem,
    problem.initial_weights(),
    (0, 10 / weight_decay),
    weight_decay=weight_decay,
    rtol=1e-4,
    curvature=gf.Krylov(rank=50),
)
print(sol)
known = sol.t[np.argmax(sol["train_accuracy"] == 1.0)]
added = sol["test_accuracy"][-1]
print(f"train accuracy 1.0 at t = {known:.0f}; test accuracy {added:.2f} at t = {sol.t_final:.0f}")

figure, (top, bottom) = plt.subplots(2, figsize=(5.5, 4.5), sharex=True, layout="constrained")
for name, style in (("train", "C0-"), ("test", "C1-")):
    top.semilogx(sol.t, sol[f"{name}_accuracy"], style, label=name)
    bottom.loglog(sol.t, sol[f"{name}_loss"], style)
top.set_ylabel("accuracy")
top.set_title(f"$a + b$ modulo {p}, one-layer transformer", fontsize="medium")
top.legend(loc="upper left")
bottom.set_ylabel("loss")
bottom.set_xlabel("$t$")
bottom.set_xlim(1e-1, 10 / weight_decay)
figure.savefig("jax_transformer.png", dpi=150)
