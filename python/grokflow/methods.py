"""The methods of integration and the strategies of curvature, with their options, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from grokflow._validate import as_positive

GIBIBYTE = 1024.0**3


@dataclass(frozen=True)
class BDF:
    """Backward differentiation formulas of variable order and step: few evaluations on long smooth paths.

    Parameters
    ----------
    max_order : int, default 5
        The highest order used, 1 to 5.

    References
    ----------
    Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section III.5 (variable steps).
    """

    max_order: int = 5

    def __post_init__(self) -> None:
        if self.max_order not in (1, 2, 3, 4, 5):
            raise ValueError(f"max_order is {self.max_order!r}; it must be an integer from 1 to 5")


@dataclass(frozen=True)
class Radau:
    """The three-stage Radau IIA method of order 5: high accuracy, and cheap restarts.

    References
    ----------
    Hairer, Wanner, Solving Ordinary Differential Equations II, section IV.8.
    """


@dataclass(frozen=True)
class Tsit5:
    """The explicit Runge-Kutta method of Tsitouras, of order 5: for the drift, which is not stiff.

    References
    ----------
    Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
    Comput. Math. Appl. 62 (2011).
    """


@dataclass(frozen=True)
class Gram:
    """Solve in kernel space: n x n matrices, no d x d matrix. Needs residuals.

    Parameters
    ----------
    memory_budget : float, default 4 GiB
        Bytes that the n x n matrices may take.
    """

    memory_budget: float = 4 * GIBIBYTE

    def __post_init__(self) -> None:
        as_positive("memory_budget", self.memory_budget)


@dataclass(frozen=True)
class Dense:
    """Solve with the full d x d Hessian: for small d, or for losses that are no sum of squares.

    Parameters
    ----------
    memory_budget : float, default 4 GiB
        Bytes that the d x d matrices may take.
    """

    memory_budget: float = 4 * GIBIBYTE

    def __post_init__(self) -> None:
        as_positive("memory_budget", self.memory_budget)


@dataclass(frozen=True)
class Krylov:
    """Project on the tangent space by MINRES, by products with J or the Hessian: no matrix at all."""


Method: TypeAlias = BDF | Radau | Tsit5
STIFF: tuple[type[Method], ...] = (BDF, Radau)  # methods for gradient flows
EXPLICIT: tuple[type[Method], ...] = (Tsit5,)  # methods for the drift


def as_method(method: object, kinds: tuple[type[Method], ...] = STIFF, piecewise: bool = False) -> Method:
    """Return the method, one of `kinds`, that a name or a dataclass stands for.

    "auto" is the first of them; for a flow that is smooth only piece by piece, the first that starts anew
    cheaply.
    """
    if piecewise and (method == "BDF" or isinstance(method, BDF)):
        raise ValueError(
            f"method is {method!r}, which needs a smooth past, and this flow is smooth only piece by piece "
            "(the activation has a kink): choose 'Radau' or 'auto'"
        )
    if isinstance(method, kinds):
        return method
    if isinstance(method, str) and method == "auto":
        return next(kind for kind in kinds if not (piecewise and kind is BDF))()
    named = {kind.__name__: kind for kind in kinds}
    if not isinstance(method, str) or method not in named:
        raise ValueError(
            f"method is {method!r}; choose from 'auto', {', '.join(map(repr, named))}, "
            f"or give {' or '.join(f'{name}(...)' for name in named)}"
        )
    return named[method]()


def as_curvature(curvature: object) -> tuple[str, float]:
    """Return the name and the memory budget that a name or a dataclass stands for, for implicit steps."""
    if isinstance(curvature, Krylov) or curvature == "krylov":
        raise ValueError(
            "curvature is 'krylov', which serves the projection on the tangent space; "
            "implicit steps need 'gram' or 'dense'"
        )
    return as_tangent_curvature(curvature, ("auto", "gram", "dense"))


def as_tangent_curvature(
    curvature: object, names: tuple[str, ...] = ("auto", "gram", "dense", "krylov")
) -> tuple[str, float]:
    """Return the name and the memory budget that a name or a dataclass stands for, for tangent spaces."""
    if isinstance(curvature, Krylov):
        return "krylov", 4 * GIBIBYTE
    if isinstance(curvature, (Gram, Dense)):
        return type(curvature).__name__.lower(), curvature.memory_budget
    if not isinstance(curvature, str) or curvature not in names:
        classes = " or ".join(f"{name.capitalize()}(...)" for name in names[1:])
        raise ValueError(
            f"curvature is {curvature!r}; choose from {', '.join(map(repr, names))}, or give {classes}"
        )
    return curvature, 4 * GIBIBYTE
