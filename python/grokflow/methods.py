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
class ROCK2:
    """A stabilised explicit method of order 2: for problems that give nothing but a gradient.

    A step of s gradients is stable up to a size of ``0.71 s^2 / L``, with L the largest eigenvalue of the
    Hessian plus weight decay, where s steps of gradient descent reach ``2 s / L``. The Hessian must have no
    large negative eigenvalues; L is found by a power method on differences of gradients, which are counted.
    No linear system is solved, so there is no `curvature`, and `rtol` is better not below 1e-7.

    References
    ----------
    Abdulle, Medovikov, Second order Chebyshev methods based on orthogonal polynomials, Numer. Math. 90
    (2001); with coefficients of a stronger damping, 0.66 in place of 0.95.
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


Method: TypeAlias = BDF | Radau | ROCK2 | Tsit5
STIFF: tuple[type[Method], ...] = (BDF, Radau, ROCK2)  # methods for gradient flows
EXPLICIT: tuple[type[Method], ...] = (Tsit5,)  # methods for the drift


def as_method(method: object, kinds: tuple[type[Method], ...] = STIFF) -> Method:
    """Return the method, one of `kinds`, that a name or a dataclass stands for."""
    if isinstance(method, kinds):
        return method
    named = {kind.__name__: kind for kind in kinds}
    if not isinstance(method, str) or method not in named:
        raise ValueError(
            f"method is {method!r}; choose from {', '.join(map(repr, named))}, "
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
