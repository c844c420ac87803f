"""The public way from a module of torch to a problem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from grokflow._validate import as_count
from grokflow.losses import Loss

if TYPE_CHECKING:
    from torch import nn

    from grokflow.frameworks.torch_model import TorchModel


def from_torch(
    module: nn.Module,
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
) -> TorchModel:
    """Return the problem of training a module of PyTorch, which is left as it is.

    Its weights are the parameters that require grad, in the order of ``module.named_parameters()``, whose
    names are those of the blocks: ``weight_decay={"*": 1e-3, "*.bias": 0.0}``. All else that the module
    holds is constant. A parameter that is tied to another counts once.

    Parameters
    ----------
    module : torch.nn.Module
        Takes inputs and returns outputs of shape (n, k), one row per sample; no sample may see another. On
        any device: weights cross once a call.
    X : tensor or array_like
        Inputs, one sample per row.
    y : tensor or array_like
        Targets: of the shape of the outputs; or, with "cross_entropy", classes (integers) or probabilities.
    loss : str or Loss, default "mse"
        A loss of :mod:`grokflow.losses` by name ("mse", "cross_entropy", "logistic", "huber"), or an object.
    test : tuple (X, y), optional
        Test data: the quantity "test_loss".
    label_smoothing : float, default 0.0
        Of "cross_entropy". It gives the loss a minimiser at finite weights.
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor of the loss: see :class:`grokflow.OutputModel`.
    dtype : {"float64", "module"}, default "float64"
        In which precision the module is evaluated: on copies in double precision, or in its own. In single
        precision `rtol` cannot be kept below 1e-5.
    kernel : {"auto", "hooks", "parameters", "none"}, default "auto"
        How the tangent kernel K is made: from what goes in and out of each layer ("hooks"), from rows of J,
        one parameter at a time ("parameters"), or not at all. "auto" takes hooks for all that they serve
        (linear, convolution, embedding, normalisation), rows of J for the rest. It is held against products
        with J on a few samples; where it fails, a warning, `kernel` and ``stats`` say what takes over.
        A chain of linear layers with one activation between them (tanh, sigmoid, relu, gelu, erf), in double
        precision, "auto" hands to the library's own network ("library"), which takes a tenth of the time
        where the network is small.
    chunk : int, default 64
        Samples whose rows of J are computed at a time.

    Returns
    -------
    TorchModel
        An :class:`OutputModel` with ``initial_weights()``, ``predict(w, X)``, ``accuracy(w)``,
        ``load_into(module, w)``.

    Raises
    ------
    ImportError
        Without PyTorch: ``pip install "grokflow[torch]"``.
    TypeError, ValueError
        If the loss is no function of the weights alone (dropout, or batch normalisation in training mode),
        inputs and parameters are on different devices, outputs have the wrong shape, or targets do not fit.

    Examples
    --------
    >>> import torch, grokflow as gf  # doctest: +SKIP
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> problem = gf.from_torch(net, X, y)
    >>> sol = gf.gradient_flow(problem, problem.initial_weights(), (0, 1e4), weight_decay=1e-3)
    >>> problem.load_into(net, sol.final)
    """
    try:
        from grokflow.frameworks.torch_model import TorchModel, TorchOutputs
    except ModuleNotFoundError as error:
        raise ImportError('from_torch needs PyTorch: pip install "grokflow[torch]"') from error
    options: dict[str, Any] = {
        "loss": loss,
        "test": test,
        "label_smoothing": label_smoothing,
        "scale": scale,
        "kernel": kernel,
    }
    remake = partial(from_torch, module, X, y, dtype=dtype, chunk=chunk, **options)
    network = TorchOutputs(module, X, dtype=dtype, chunk=as_count("chunk", chunk))
    return TorchModel(network, y, remake, **options)
