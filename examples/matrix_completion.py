"""Matrix completion by U V^T: the entries are fitted at once, the low rank is found later.

python examples/matrix_completion.py [--small]
"""

import sys

import grokflow as gf
import matplotlib.pyplot as plt
import numpy as np

size, width, observed, singular = (
    (6, 3, 20, [6.0]) if "--small" in sys.argv else (20, 10, 220, [24.5, 17.6, 10.7])
)
rng = np.random.default_rng(42)
U, V = (np.linalg.qr(rng.standard_normal((size, len(singular))))[0] for _ in range(2))
teacher = U * singular @ V.T
rows, cols = np.divmod(rng.permutation(size * size), size)
entries = rows, cols, teacher[rows, cols]

problem = gf.models.MatrixCompletion(
    *(part[:observed] for part in entries),
    shape=(size, size),
    width=width,
    scale=2.0,  # F is the sum of the squared errors
    test=tuple(part[observed:] for part in entries),
)
w0 = problem.initial_weights(std=1.0, seed=0)
observe = ["train_loss", "test_loss", "norm", "grad_norm", "singular_values"]
sol = gf.gradient_flow(problem, w0, (0, 1e4), weight_decay=1e-3, observe=observe)
print(sol)
print("singular values at the end:", sol["singular_values"][-1].round(2))
sol.plot().savefig("matrix_completion.png")

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.semilogx(sol.t, sol["singular_values"])
ax.set_xlim(1e-4, sol.t_final)
ax.set_xlabel("$t$")
ax.set_ylabel("singular values of $UV^T$")
figure.savefig("matrix_completion_singular_values.png")
