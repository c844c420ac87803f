"""The methods of integration and the strategies of curvature, with their options, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple, TypeAlias

from grokflow._validate import as_count, as_positive
from grokflow.memory import get_memory_limit

LARGEST_RANK = 2**31 - 1  # as the core counts
GIBIBYTE = 1024.0**3


@dataclass(frozen=True)
class BDF:
    """Backward differentiation formulas of variable order and step: few evaluations on long smooth paths.

    From ``rtol = 1e-5`` down, order 5 of gradient flows blends with order 6, which their real rates allow.

    Parameters
    ----------
    max_order : int, default 5
        The highest order used, 1 to 5.

    References
    ----------
    Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section III.5 (variable steps).
    Shampine, Reichelt, The MATLAB ODE suite, SIAM J. Sci. Comput. 18 (1997) (blends of two orders).
    """

    max_order: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.max_order, Integral) or self.max_order not in (1, 2, 3, 4, 5):
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
class Exponential:
    """Exact steps of the linear flow of a quadratic loss, by one eigen-decomposition: "auto" takes them.

    The exponential Rosenbrock-Euler method. A step makes no error at any length but that of round-off; it
    doubles the time, for those who watch, who set `max_step` for more of them. The curvature has to be
    "gram", with one rate of weight decay, or "dense", and not so ill-conditioned that the round-off of its
    eigenvalues is felt beyond `rtol`.

    References
    ----------
    Hochbruck, Ostermann, Exponential integrators, Acta Numerica 19 (2010).
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
class Auto:
    """Gram if residuals exist, n < d (or n = d > 200), and K fits its budget and price; else dense or krylov.

    K with its factorisation may cost 20 gradients (60 with kinks or n <= 100, 40 by a clock), or
    more if d <= 200 or the loss is quadratic. Else it is dense for d <= 200 (2000 for a quadratic loss, or
    one that gives no product with its Hessian). A flow whose K fits, but costs more, takes krylov while few
    iterations do, and where not, a K for many steps ("adaptive").

    Parameters
    ----------
    memory_budget : float, default 4 GiB
        Bytes that the matrices of any curvature may take: four of n x n, or of d x d.
    """

    memory_budget: float = 4 * GIBIBYTE

    def __post_init__(self) -> None:
        as_positive("memory_budget", self.memory_budget)


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
    """Solve by products with J, J^T or the Hessian alone: for many residuals, or many parameters without any.

    An implicit step uses conjugate gradients in the smaller of kernel space (n) and parameter space (d;
    always, for losses without residuals). What a solve learns of the spectrum preconditions the next ones.
    The projection on the tangent space uses conjugate gradients on K, or MINRES on the Hessian.

    Parameters
    ----------
    rank : int, optional
        Rank of the preconditioner: the most vectors kept, of n or d entries. Default: as many, a power of two
        from 8 to 200, as cost half of a product with J and J^T or the Hessian, or none.
    memory_budget : float, default 4 GiB
        Bytes that they may take: there are fewer if ``10 * rank * n`` (or d) exceeds it.

    References
    ----------
    Frangella, Tropp, Udell, Randomized Nystrom Preconditioning, SIAM J. Matrix Anal. Appl. 44 (2023), for
    the form of the preconditioner; it is updated by the block BFGS formula on the directions of past solves.
    """

    rank: int | None = None
    memory_budget: float = 4 * GIBIBYTE

    def __post_init__(self) -> None:
        if self.rank is not None:
            as_count("rank", self.rank, LARGEST_RANK)
        as_positive("memory_budget", self.memory_budget)


class Strategy(NamedTuple):
    """A curvature as the core takes it."""

    name: str
    memory_budget: float
    rank: int


Curvature: TypeAlias = Auto | Gram | Dense | Krylov
Method: TypeAlias = BDF | Radau | ROCK2 | Exponential | Tsit5
STIFF: tuple[type[Method], ...] = (BDF, Radau, ROCK2, Exponential)  # methods for gradient flows
EXPLICIT: tuple[type[Method], ...] = (Tsit5,)  # methods for the drift


def as_method(method: object, kinds: tuple[type[Method], ...] = STIFF, piecewise: bool = False) -> Method:
    """Return the method, one of `kinds`, that a name or a dataclass stands for.

    "auto" is the first of them, which the core may replace; for a flow that is smooth only piece by piece,
    the first that starts anew cheaply.
    """
    smooth = tuple(kind for kind in STIFF if kind is not Radau)
    if piecewise and (method in [kind.__name__ for kind in smooth] or isinstance(method, smooth)):
        raise ValueError(
            f"method is {method!r}, which needs a smooth flow, and this one is smooth only piece by piece "
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


def as_curvature(curvature: object) -> Strategy:
    """Return what a name or a dataclass stands for."""
    kinds = (Auto, Gram, Dense, Krylov)
    named = {kind.__name__.lower(): kind for kind in kinds}
    if isinstance(curvature, str) and curvature in named:
        curvature = named[curvature]()
    if not isinstance(curvature, kinds):
        raise ValueError(
            f"curvature is {curvature!r}; choose from {', '.join(map(repr, named))}, "
            f"or give {' or '.join(f'{kind.__name__}(...)' for kind in kinds)}"
        )
    rank = (curvature.rank or 0) if isinstance(curvature, Krylov) else 0
    budget = min(curvature.memory_budget, get_memory_limit())
    return Strategy(type(curvature).__name__.lower(), budget, rank)
