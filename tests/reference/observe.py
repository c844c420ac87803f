"""What a trajectory records besides the states."""

import numpy as np


def named(problem, name):
    """Return the observable f(t, w) that has this name."""
    common = {
        "train_loss": problem.loss,
        "norm": lambda w: np.sqrt(np.sum(w**2)),
        "grad_norm": lambda w: np.sqrt(np.sum(problem.gradient(w) ** 2)),
    }
    f = common.get(name) or (lambda w: problem.quantity(name, w))
    return lambda t, w: f(w)


def observables(problem, observe):
    """Return {name: f(t, w)} for None (losses and norms), a list of names, or {name: name or callable}."""
    if observe is None:
        has_test = "test_loss" in getattr(problem, "quantities", ())
        observe = ["train_loss", *["test_loss"] * has_test, "norm", "grad_norm"]
    if not isinstance(observe, dict):
        observe = {name: name for name in observe}
    return {key: f if callable(f) else named(problem, f) for key, f in observe.items()}
