"""What a trajectory records besides the states."""

import numpy as np


def named(problem, name):
    """Return the observable f(t, w) that has this name."""
    common = {
        "train_loss": problem.loss,
        "norm": lambda w: np.sqrt(np.sum(w**2)),
        "grad_norm": lambda w: np.sqrt(np.sum(problem.gradient(w) ** 2)),
    }
    common |= {
        "train_accuracy": lambda w: np.mean(margins(problem.outputs(w), problem.targets) > 0),
        "test_accuracy": lambda w: np.mean(margins(problem.test_outputs(w), problem.test_targets) > 0),
        "margin": lambda w: np.min(margins(problem.outputs(w), problem.targets)),
    }
    f = common.get(name) or (lambda w: problem.quantity(name, w))
    return lambda t, w: f(w)


def margins(outputs, targets):
    """Return how far each sample is on its side; targets are classes, codes or probabilities, or signs."""
    found = []
    for f, y in zip(outputs, targets, strict=True):
        f = np.atleast_1d(f)
        if f.size == 1:
            found.append((1 if np.ravel(y)[0] > 0 else -1) * f[0])
            continue
        right = y if np.ndim(y) == 0 else np.argmax(y)
        found.append(f[right] - max(np.delete(f, right)))
    return np.array(found)


def observables(problem, observe):
    """Return {name: f(t, w)} for None (losses and norms), a list of names, or {name: name or callable}."""
    if observe is None:
        has_test = "test_loss" in getattr(problem, "quantities", ())
        observe = ["train_loss", *["test_loss"] * has_test, "norm", "grad_norm"]
    if not isinstance(observe, dict):
        observe = {name: name for name in observe}
    return {key: f if callable(f) else named(problem, f) for key, f in observe.items()}
