"""The public way from a function of JAX to a problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from grokflow._validate import as_count
from grokflow.losses import Loss

if TYPE_CHECKING:
    from grokflow.frameworks.jax_model import JaxModel


def from_jax(
    apply: Callable[[Any, Any], Any],
    params: Any,
    X: Any,
    y: Any,
    *,
    loss: str | Loss = "mse",
    test: tuple[Any, Any] | None = None,
    label_smoothing: float = 0.0,
    scale: str | float = "mean",
    dtype: str = "float64",
    kernel: str = "auto",
    chunk: int = 64,
) -> JaxModel:
    """Return the problem of training a function of JAX: Flax's ``model.apply``, Equinox, or one's own.

    Its weights are the leaves of `params`, whose paths are the names of the blocks:
    ``weight_decay={"*": 1e-3, "*.bias": 0.0}``.

    Parameters
    ----------
    apply : callable
        ``apply(params, X)`` returns outputs of shape (n, k), one row per sample; it must be pure, and no
        sample may see another.
    params : tree of arrays
        The parameters, all floating.
    X : array_like or tree of such
        Inputs, one sample per row.
    y : array_like
        Targets: of the shape of the outputs; or, with "cross_entropy", classes (integers) or probabilities.
    loss, test, label_smoothing, scale
        As in :func:`from_torch`.
    dtype : {"float64", "module"}, default "float64"
        In which precision `apply` is evaluated: in double, whatever JAX is set to elsewhere, or in that of
        `params`. In single precision `rtol` cannot be kept below 1e-5.
    kernel : {"auto", "parameters", "none"}, default "auto"
        How the tangent kernel K is made: from rows of J, one parameter at a time, or not at all. It is held
        against products with J on a few samples; where it fails, a warning, `kernel` and ``stats`` say so.
    chunk : int, default 64
        Samples whose rows of J are computed at a time.

    Returns
    -------
    JaxModel
        An :class:`OutputModel` with ``initial_weights()``, ``predict(w, X)``, ``accuracy(w)`` and
        ``params(w)``, the weights as a tree.

    Raises
    ------
    ImportError
        Without JAX: ``pip install "grokflow[jax]"``.
    TypeError, ValueError
        If a parameter is not floating, outputs have the wrong shape, or targets do not fit.

    Examples
    --------
    >>> import jax.numpy as jnp, grokflow as gf  # doctest: +SKIP
    >>> problem = gf.from_jax(lambda params, X: jnp.tanh(X @ params["V"]) @ params["u"], params, X, y)
    >>> sol = gf.gradient_flow(problem, problem.initial_weights(), (0, 1e4), weight_decay=1e-3)
    >>> problem.params(sol.final)
    """
    try:
        from grokflow.frameworks.jax_model import JaxModel, JaxOutputs
    except ModuleNotFoundError as error:
        raise ImportError('from_jax needs JAX: pip install "grokflow[jax]"') from error
    options: dict[str, Any] = {
        "loss": loss,
        "test": test,
        "label_smoothing": label_smoothing,
        "scale": scale,
        "kernel": kernel,
    }
    remake = partial(from_jax, apply, params, X, y, dtype=dtype, chunk=chunk, **options)
    network = JaxOutputs(apply, params, X, dtype=dtype, chunk=as_count("chunk", chunk))
    return JaxModel(network, y, remake, **options)
