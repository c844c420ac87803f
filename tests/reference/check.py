"""Which functions of a problem are wrong: every matrix by central differences, entry by entry."""

import numpy as np


def check_problem(problem, w=None, *, seed=0):
    """Return the set of names of the functions that disagree with what they are a derivative of."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(problem.num_params) if w is None else np.asarray(w, dtype=float)
    given = problem.functions
    eye = np.eye(problem.num_params)
    wrong = set()

    def compare(name, got, expected, tolerance=1e-5):
        if name in given and not np.allclose(
            got(), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max()
        ):
            wrong.add(name)

    if problem.num_residuals:
        J = central_differences(problem.residual, w)
        compare("jvp", lambda: np.array([problem.jvp(w, e) for e in eye]).T, J)
        compare("vjp", lambda: np.array([problem.vjp(w, e) for e in np.eye(problem.num_residuals)]), J)
        compare("jacobian", lambda: problem.jacobian(w), J)
        compare("gram", lambda: problem.gram(w), J @ J.T)
    else:
        compare("gradient", lambda: problem.gradient(w), central_differences(problem.loss, w)[0])
    H = second_differences(problem.loss, w)
    compare("hvp", lambda: np.array([problem.hvp(w, e) for e in eye]), H, 1e-4)
    compare("hessian", lambda: problem.hessian(w), H, 1e-4)
    return wrong


def central_differences(f, w, h=1e-5):
    return np.array([(np.atleast_1d(f(w + h * e)) - f(w - h * e)) / (2 * h) for e in np.eye(w.size)]).T


def second_differences(f, w, h=1e-4):
    def entry(a, b):
        return (f(w + a + b) - f(w + a - b) - f(w - a + b) + f(w - a - b)) / (4 * h * h)

    steps = h * np.eye(w.size)
    return np.array([[entry(a, b) for b in steps] for a in steps])
