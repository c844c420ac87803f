"""A gradient flow driven step by step."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, NoReturn

from numpy.typing import ArrayLike

from grokflow._options import Callback, Decay, Observe, Request
from grokflow._validate import FloatArray, as_number
from grokflow.driver import Driver, begin
from grokflow.methods import BDF, ROCK2, Curvature, Exponential, Radau
from grokflow.problems import Problem, as_problem
from grokflow.regularizers import Regularization


class Integrator(Driver):
    """A gradient flow driven step by step: the loop is the caller's.

    All arguments are those of :func:`grokflow.gradient_flow`, except `progress`.

    Attributes
    ----------
    t : float
        The time reached.
    w : ndarray, shape (d,)
        The weights there, a copy.
    h : float
        The size of the last step.
    order : int
        The order of the last step.
    status : str
        "running", or why the run has ended; see :class:`grokflow.Solution`.
    message : str
        The status in a sentence, once the run has ended.
    stats : dict of str to int
        Work done so far.

    Raises
    ------
    TypeError, ValueError
        As `gradient_flow`, before any work.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> problem = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    >>> integrator = gf.Integrator(problem, np.ones(3), (0, 100), weight_decay=0.01)
    >>> for step in integrator:
    ...     if np.linalg.norm(step.w) < 1.6:
    ...         break
    >>> sol = integrator.solution()
    """

    def __init__(
        self,
        problem: Problem,
        w0: ArrayLike,
        t_span: tuple[float, float],
        *,
        weight_decay: Decay,
        method: str | BDF | Radau | ROCK2 | Exponential = "auto",
        curvature: str | Curvature = "auto",
        rtol: float = 1e-6,
        atol: ArrayLike | None = None,
        t_eval: ArrayLike | str | None = "log",
        observe: Observe = None,
        save_states: bool | str | os.PathLike[str] = "auto",
        events: Any = None,
        first_step: float | None = None,
        max_step: float = math.inf,
        max_steps: int | None = None,
        max_time: float | None = None,
        callback: Callback | None = None,
        regularizer: Regularization = "norm",
    ) -> None:
        request = Request.of(locals())
        super().__init__(*begin(as_problem(problem), w0, weight_decay, request, regularizer), problem)

    def step(self) -> str:
        """Take one step and return the status.

        Raises
        ------
        RuntimeError
            If the run has ended, or if another thread, or this integrator's own callback, is using it.
        """
        return self.advance(to_end=False)

    def __iter__(self) -> Iterator[Integrator]:
        """Step until the run ends, yielding the integrator itself after each step."""
        while self.status == "running":
            self.step()
            yield self

    @property
    def t(self) -> float:
        """The time reached."""
        return self._run.t

    @property
    def w(self) -> FloatArray:
        """The weights at `t`, shape (d,), a copy."""
        return self._run.w

    @property
    def h(self) -> float:
        """The size of the last step."""
        return self._run.t - self._run.previous_t

    @property
    def order(self) -> int:
        """The order of the last step."""
        return self._run.order

    @property
    def status(self) -> str:
        """ "running", or why the run has ended."""
        return self._run.status

    @property
    def message(self) -> str:
        """The status in a sentence, once the run has ended."""
        return self._run.message

    @property
    def stats(self) -> dict[str, int]:
        """Work done so far."""
        return self._run.stats()

    def interpolate(self, t: float) -> FloatArray:
        """Return the weights at a time within the last step, shape (d,), from the method's own polynomial.

        Raises
        ------
        ValueError
            If `t` is outside the last step.
        """
        t = as_number("t", t)
        if not self._run.previous_t <= t <= self._run.t:
            raise ValueError(
                f"t is {t!r}, outside the last step from {self._run.previous_t:g} to {self._run.t:g}"
            )
        return self._run.interpolate(t)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an Integrator cannot be copied or pickled while it runs; "
            "keep integrator.solution(), or make a new one from the problem and integrator.w"
        )

    def __repr__(self) -> str:
        return f"<Integrator: {self.status}, t = {self.t:.6g}, h = {self.h:.3g}, order {self.order}>"
