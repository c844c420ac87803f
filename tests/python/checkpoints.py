"""What the tests of checkpoints share: problems of every kind, and when two results are the same."""

import dataclasses

import grokflow as gf
import numpy as np

RNG = np.random.default_rng(5)
GRID = np.linspace(-2.0, 2.0, 8)[:, None]
X, Y = RNG.standard_normal((12, 6)), RNG.standard_normal(12)


def own():
    A = np.random.default_rng(1).standard_normal((4, 9))
    return gf.LeastSquares(
        residual=lambda w: A @ w**2 - 1.0,
        jvp=lambda w, v: A @ (2 * w * v),
        vjp=lambda w, u: 2 * w * (A.T @ u),
        num_params=9,
        num_residuals=4,
    )


def soft():
    """A loss that is no sum of squares, smooth and without a minimiser at finite weights."""
    x = np.array([0.3, 0.7, -1.0])
    return gf.Objective(
        loss=lambda w: float(np.logaddexp(0.0, -x @ w)),
        gradient=lambda w: -x / (1.0 + np.exp(x @ w)),
        hvp=lambda w, v: x * (x @ v) * np.exp(x @ w) / (1.0 + np.exp(x @ w)) ** 2,
        num_params=3,
    )


PROBLEMS = {
    "linear": lambda: gf.models.LinearRegression(X, Y),
    "diagonal": lambda: gf.models.DiagonalLinearNetwork(X[:4], Y[:4]),
    "completion": lambda: gf.models.MatrixCompletion(
        [0, 0, 1, 2], [0, 1, 1, 2], Y[:4], shape=(3, 3), width=2
    ),
    "tanh": lambda: gf.models.TwoLayerNetwork(X, Y, width=15, activation="tanh"),
    "mlp": lambda: gf.models.MLP(X, Y, widths=(10, 10), activation="tanh"),
    "relu": lambda: gf.models.TwoLayerNetwork(X[:, :1], Y, width=20, activation="relu"),
    "relu_fit": lambda: gf.models.TwoLayerNetwork(GRID, np.abs(GRID[:, 0]), width=40, activation="relu"),
    "own": own,
    "soft": soft,
}


def weights(name, problem):
    if hasattr(problem, "initial_weights"):
        return problem.initial_weights(seed=3)
    return 0.5 + np.arange(problem.num_params) / 10.0


def same(ours, theirs):
    """Assert that two results have the same bits, but for the time that they took."""
    assert type(ours) is type(theirs)
    if dataclasses.is_dataclass(ours) and not isinstance(ours, gf.Problem):
        for field in dataclasses.fields(ours):
            if field.name not in ("problem", "_request", "_regularizer"):
                same(getattr(ours, field.name), getattr(theirs, field.name))
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() - {"seconds", "max_steps", "save_states"}:
            same(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for pair in zip(ours, theirs, strict=True):
            same(*pair)
    elif isinstance(ours, np.ndarray) and ours.dtype.names is None:
        assert ours.shape == theirs.shape
        assert ours.tobytes() == theirs.tobytes()
    elif isinstance(ours, np.ndarray):
        assert ours.tolist() == theirs.tolist()
    else:
        assert ours == theirs or (ours != ours and theirs != theirs)
