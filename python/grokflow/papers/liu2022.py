"""Liu, Michaud, Tegmark, Omnigrok: grokking beyond algorithmic data (arXiv 2210.01117).

A start of size alpha above the norm that generalises makes any task grok: the train loss falls at once, and
the test loss when weight decay has brought the norm down, at t = log(alpha / alpha_c) / lam. A tanh student
of a tanh teacher over alpha and lam (comprehension, grokking, memorisation), and 200 handwritten digits
fitted as one-hot codes from alpha = 8.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import grokflow as gf

small = "--small" in sys.argv
alphas, lams = (
    ([0.5, 4.0], [1e-2, 1e-3]) if small else (np.geomspace(0.5, 8.0, 7), [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
)
width, samples, hidden, t_end = (8, 30, 20, 1e3) if small else (20, 60, 50, 1e6)
rng = np.random.default_rng(1)
X, X_test = rng.standard_normal((samples, 5)), rng.standard_normal((500, 5))
teacher = gf.models.MLP(X, np.zeros((samples, 5)), (5,))
theirs = 1.5 * teacher.initial_weights(seed=12)
y, y_test = (teacher.predict(theirs, x) for x in (X, X_test))
student = gf.models.MLP(X, y, (width, width), test=(X_test, y_test))
base = student.initial_weights(std={"b1": 0.0, "b2": 0.0, "b3": 0.0}, seed=0)


def run(alpha, lam):
    """Return losses of the student over time."""
    options = {"weight_decay": lam, "rtol": 1e-4, "save_states": False, "max_time": 20}
    return gf.gradient_flow(student, alpha * base, (0, 10 / lam), **options)


grid = np.concatenate([[0.0], np.geomspace(1e-2, 10 / min(lams), 200)])
study = gf.sweep(run, over={"alpha": alphas, "lam": lams}, times=grid)
flows = {lam: run(4.0, lam) for lam in lams}
late = np.array([gf.crossing_time(sol, "test_loss", below=3e-2) for sol in flows.values()])
print(
    "teacher-student, alpha = 4: lam t of the test data " + ", ".join(f"{x:.2f}" for x in late * list(flows))
)

images, digits = load_digits(return_X_y=True)
order = rng.permutation(len(images))
images, codes = images[order] / 16.0, np.eye(10)[digits[order]]
train, test = (images[:200], codes[:200]), (images[200:], codes[200:])
model = gf.models.MLP(*train, (hidden, hidden), activation="smooth_relu", smoothing=0.1, test=test)
begin = 8.0 * model.initial_weights(std={"b1": 0.0, "b2": 0.0, "b3": 0.0}, seed=0)
observe = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "norm"]
options = {"curvature": "krylov", "rtol": 1e-3, "observe": observe, "save_states": False}
long = gf.gradient_flow(model, begin, (0, t_end), weight_decay=10 / t_end, **options)
known = [gf.crossing_time(long, f"{part}_accuracy", above=a) for part, a in (("train", 0.95), ("test", 0.85))]
print(f"digits: 95% of the train data at t = {known[0]:.2g}, 85% of the test data at {known[1]:.2g}")
print(f"digits: test accuracy {long['test_accuracy'][-1]:.3f} at t = {long.t_final:.2g}")

figure, axes = plt.subplots(2, 2, figsize=(9, 6.8), layout="constrained")
gf.phase_diagram(study, x="lam", y="alpha", ax=axes[0, 0])
axes[0, 0].set(xlabel=r"$\lambda$", ylabel=r"$\alpha$", yscale="log")
axes[0, 0].set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
axes[0, 0].minorticks_off()
gf.plot_flows(flows, beside="train_loss", ax=axes[0, 1])
axes[0, 1].set_ylim(bottom=1e-7)
gf.plot_law(list(flows), {"test loss < 0.03": late}, ax=axes[1, 0])
for part in ("train", "test"):
    axes[1, 1].semilogx(long.t[1:], long[f"{part}_accuracy"][1:], label=f"{part}, digits")
axes[1, 1].set(xlabel="$t$", ylabel="accuracy", xlim=(1, t_end))
axes[1, 1].legend(frameon=False)
figure.savefig("liu2022.png")
