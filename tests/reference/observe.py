"""What a trajectory records besides the states."""

import numpy as np


def named(problem, name):
    """Return the observable f(t, w) that has this name."""
    return {
        "train_loss": lambda t, w: problem.loss(w),
        "test_loss": lambda t, w: problem.test_loss(w),
        "norm": lambda t, w: np.sqrt(np.sum(w**2)),
        "grad_norm": lambda t, w: np.sqrt(np.sum(problem.gradient(w) ** 2)),
    }[name]


def observables(problem, observe):
    """Return {name: f(t, w)} for None (the usual four), a list of names, or {name: name or callable}."""
    if observe is None:
        has_test = getattr(problem, "test", None) is not None
        observe = ["train_loss", *["test_loss"] * has_test, "norm", "grad_norm"]
    if not isinstance(observe, dict):
        observe = {name: name for name in observe}
    return {key: f if callable(f) else named(problem, f) for key, f in observe.items()}
