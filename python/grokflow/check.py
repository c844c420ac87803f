"""Whether the functions of a problem agree with each other, and which one is wrong if they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._taylor import remainder
from grokflow._validate import FloatArray, as_generator, as_vector
from grokflow.callbacks import CallbackError
from grokflow.problems import Problem, require_problem

AGREEMENT = 1e-6
"""Largest relative difference of two ways to the same number; single precision passes."""
LARGEST_MATRIX = 10**7
"""Entries of the largest J or Hess F that is formed in order to be checked."""


class Failure(NamedTuple):
    """A law that does not hold: the function at fault, the law, the number measured, and what to do."""

    function: str
    law: str
    measured: float
    advice: str


class Check(NamedTuple):
    """A law: the number measured, what it should be, and whether it holds (None: not tried)."""

    function: str
    law: str
    measured: float
    expected: str
    passed: bool | None
    advice: str


@dataclass(frozen=True)
class ProblemReport:
    """What :func:`check_problem` found. It is true if no law failed, and prints as a table.

    Attributes
    ----------
    checks : tuple of Check
        Every law in the order tried.
    """

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The laws that do not hold: (function, law, measured, advice)."""
        return tuple(
            Failure(c.function, c.law, c.measured, c.advice) for c in self.checks if c.passed is False
        )

    def raise_if_failed(self) -> None:
        """Raise ValueError that names each wrong function, if there is one."""
        if not self:
            raise ValueError("; ".join(f"{f.function}: {f.advice}" for f in self.failures))

    def __bool__(self) -> bool:
        return not self.failures

    def __repr__(self) -> str:
        verdict = {True: "ok", False: "FAILED", None: "not tried"}
        rows = [("function", "law", "measured", "expected", "")]
        for c in self.checks:
            measured = "" if c.passed is None else f"{c.measured:.3g}"
            rows.append((c.function, c.law, measured, c.expected, verdict[c.passed]))
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        lines += [f"{f.function}: {f.advice}" for f in self.failures]
        return "\n".join(line.rstrip() for line in lines)


def check_problem(problem: Problem, w: ArrayLike | None = None, *, seed: int = 0) -> ProblemReport:
    """Check the functions of `problem` against each other at one point, and name the one that is wrong.

    Derivatives are held against the function that they differentiate by the order of the Taylor remainder
    along a random direction (Boumal, An Introduction to Optimization on Smooth Manifolds, section 4.8): jvp,
    vjp and jacobian against residual (or outputs), the gradient of a loss and its Hessian, which its factor
    gives, against its value at the outputs, gradient against loss, hvp and hessian against gradient. Then
    come adjointness ``<u, J v> = <J^T u, v>``, linearity, symmetry, and ``K = J J^T``. A law that rests on a
    function already found wrong is not tried. Costs about 45 evaluations per derivative.

    Parameters
    ----------
    problem : Problem
        A model, or functions of one's own.
    w : (d,) array_like, optional
        The point; the functions should be smooth there. Default: standard normal.
    seed : int, default 0
        Of the random directions.

    Returns
    -------
    ProblemReport
        True if all laws hold; ``failures`` and ``raise_if_failed()`` tell which do not.

    Raises
    ------
    ValueError
        If `w` has the wrong shape or is not finite.

    Notes
    -----
    What a function raises passes through; only CallbackError (wrong shape, dtype, asymmetry) is a finding.

    Examples
    --------
    >>> from grokflow.callbacks import Objective
    >>> wrong = Objective(loss=lambda w: w @ w, gradient=lambda w: w, num_params=3)
    >>> [failure.function for failure in check_problem(wrong).failures]
    ['gradient']
    """
    require_problem(problem)
    rng = as_generator(seed)
    point = rng.standard_normal(problem.num_params) if w is None else as_vector("w", w, problem.num_params)
    checker = _Checker(problem, point, rng)
    if checker.model.num_residuals:
        checker.check_jacobian()
    if checker.criterion is not None:
        checker.check_loss(checker.criterion)
    checker.check_gradient()
    checker.check_hessian()
    return ProblemReport(tuple(checker.checks))


class _Checker:
    """The laws at one point, in an order in which each may rest on those before it."""

    def __init__(self, problem: Problem, w: FloatArray, rng: np.random.Generator) -> None:
        self.problem = problem
        self.w = w
        self.checks: list[Check] = []
        self.wrong: set[str] = set()
        # The functions of the user's own; what follows from them cannot be wrong by itself.
        functions = getattr(problem, "functions", None)
        self.own: set[str] | None = None if functions is None else set(functions)
        self.model, self.residual, self.r = problem, "residual", "r"
        self.criterion: core.Loss | None = None
        if isinstance(compiled := problem._core, core.OutputProblem):
            # Below a loss are outputs, the residuals of the model by itself.
            self.model, self.residual, self.r = Problem(compiled.model), "outputs", "f"
            self.criterion = compiled.criterion
        d, n = problem.num_params, self.model.num_residuals
        size = float(np.linalg.norm(w)) or 1.0
        self.v, self.v2 = (x * (size / np.linalg.norm(x)) for x in rng.standard_normal((2, d)))
        self.u = rng.standard_normal(n)

    def check_jacobian(self) -> None:
        """Law by law: residual (or outputs), jvp, vjp, jacobian and gram."""
        p, w, u, v = self.model, self.w, self.u, self.v
        if not self.finite(self.residual, lambda: p.residual(w)):
            return
        self.repeatable(self.residual, lambda: p.residual(w))
        jvp, vjp = self.source("jvp", "jacobian"), self.source("vjp", "jacobian")
        self.finite(jvp, lambda: p.jvp(w, v))
        self.taylor(jvp, f"{self.r}(w + h v) - {self.r}(w) - h J v", p.residual, lambda: p.jvp(w, v))
        self.linear(jvp, lambda x: p.jvp(w, x))
        if vjp != jvp or vjp == "vjp":
            self.finite(vjp, lambda: p.vjp(w, u))
            law = f"<u, {self.r}(w + h v) - {self.r}(w)> - h <J^T u, v>"
            self.taylor(vjp, law, lambda x: u @ p.residual(x), lambda: p.vjp(w, u) @ v)
            law = "<u, J v> = <J^T u, v>"
            scale = float(np.linalg.norm(u)) * float(np.linalg.norm(v))
            self.equal(vjp, law, lambda: (u @ p.jvp(w, v), p.vjp(w, u) @ v), (jvp,), scale)
        if self.own is not None and {"jacobian", "jvp", "vjp"} <= self.own:
            law = f"{self.r}(w + h v) - {self.r}(w) - h J v"
            self.taylor("jacobian", law, p.residual, lambda: p.jacobian(w) @ v)
            law = "J^T u by jacobian and by vjp"
            self.equal("jacobian", law, lambda: (p.jacobian(w).T @ u, p.vjp(w, u)), ("vjp",))
        elif self.own is None and u.size * w.size <= LARGEST_MATRIX:
            self.equal(
                "jacobian", "J v by jacobian and by jvp", lambda: (p.jacobian(w) @ v, p.jvp(w, v)), (jvp,)
            )
        if self.is_own("gram") and u.size**2 <= LARGEST_MATRIX:
            self.equal("gram", "K u = J J^T u", lambda: (p.gram(w) @ u, p.jvp(w, p.vjp(w, u))), (jvp, vjp))

    def check_loss(self, loss: core.Loss) -> None:
        """Hold gradient and factor of the loss against its value, at the outputs."""
        f = self.model._core.residual(self.w)
        x = self.u * ((float(np.linalg.norm(f)) or 1.0) / float(np.linalg.norm(self.u)))
        self.taylor(
            "loss.gradient",
            "l(f + h x) - l(f) - h <g, x>",
            loss.value,
            lambda: loss.gradient(f) @ x,
            (),
            (f, x),
        )
        needs = ("loss.gradient",)
        self.equal(
            "loss.factor", "B rho = g", lambda: (loss.apply(*loss.factor(f)[::-1]), loss.gradient(f)), needs
        )
        law = "g(f + h x) - g(f) - h B B^T x"
        self.taylor("loss.factor", law, loss.gradient, lambda: loss.hessian(f, x), needs, (f, x))

    def check_gradient(self) -> None:
        """Hold the gradient, if it does not follow from jvp and vjp, against the loss."""
        p, w, v = self.problem, self.w, self.v
        if not self.is_own("gradient"):
            return
        if not (self.finite("loss", lambda: p.loss(w)) and self.finite("gradient", lambda: p.gradient(w))):
            return
        self.repeatable("loss", lambda: p.loss(w))
        self.repeatable("gradient", lambda: p.gradient(w))
        self.taylor("gradient", "F(w + h v) - F(w) - h <grad F, v>", p.loss, lambda: p.gradient(w) @ v)
        if p.num_residuals:
            law = "grad F = c J^T r"
            self.equal("gradient", law, lambda: (p.gradient(w), p.scale * p.vjp(w, p.residual(w))), ("vjp",))

    def check_hessian(self) -> None:
        """Hold hvp and hessian against the gradient, and against each other."""
        p, w, v, v2 = self.problem, self.w, self.v, self.v2
        law = "grad F(w + h v) - grad F(w) - h Hess F v"
        needs = (self.residual, "loss", "gradient", self.source("vjp", "jacobian"), "loss.gradient")
        if p._core.has_hvp and self.is_own("hvp"):
            self.finite("hvp", lambda: p.hvp(w, v))
            self.taylor("hvp", law, p.gradient, lambda: p.hvp(w, v), needs)
            scale = float(np.linalg.norm(v)) * float(np.linalg.norm(v2))
            self.equal(
                "hvp", "<v', H v> = <v, H v'>", lambda: (v2 @ p.hvp(w, v), v @ p.hvp(w, v2)), (), scale
            )
            self.linear("hvp", lambda x: p.hvp(w, x))
        if p._core.has_hessian and self.is_own("hessian") and w.size**2 <= LARGEST_MATRIX:
            self.finite("hessian", lambda: p.hessian(w))
            if p._core.has_hvp:
                self.equal(
                    "hessian", "H v by hessian and by hvp", lambda: (p.hessian(w) @ v, p.hvp(w, v)), ("hvp",)
                )
            else:
                self.taylor("hessian", law, p.gradient, lambda: p.hessian(w) @ v, needs)

    def is_own(self, function: str) -> bool:
        return self.own is None or function in self.own

    def source(self, function: str, substitute: str) -> str:
        return function if self.is_own(function) else substitute

    def finite(self, function: str, evaluate: Callable[[], Any]) -> bool:
        """Count the entries that are nan or infinite."""

        def law() -> tuple[float, bool, str]:
            bad = np.flatnonzero(~np.isfinite(np.ravel(evaluate())))
            advice = f"has {bad.size} entries at w that are not finite" + (
                f", the first is {bad[0]}" if bad.size else ""
            )
            return float(bad.size), bad.size == 0, advice

        return self.record(function, "finite at w", "0", law)

    def repeatable(self, function: str, evaluate: Callable[[], Any]) -> None:
        """Compare two calls at one point."""
        advice = "gives different values at the same w; an adaptive solver needs a deterministic function"
        self.equal(function, "two calls at w", lambda: (evaluate(), evaluate()), (), advice=advice)

    def linear(self, function: str, evaluate: Callable[[FloatArray], FloatArray]) -> None:
        """Compare A(2 v - 3 v') with 2 A v - 3 A v'."""
        v, v2 = self.v, self.v2
        both = lambda: (evaluate(2.0 * v - 3.0 * v2), 2.0 * evaluate(v) - 3.0 * evaluate(v2))  # noqa: E731
        advice = f"is not linear in its second argument; does {function} change v, or keep a state?"
        self.equal(function, "linear in v", both, (), advice=advice)

    def taylor(
        self,
        function: str,
        law: str,
        f: Callable[[FloatArray], Any],
        derivative: Callable[[], Any],
        needs: tuple[str, ...] = (),
        along: tuple[FloatArray, FloatArray] | None = None,
    ) -> None:
        """Measure the order of a Taylor remainder, about w along v or about another point."""

        def measure() -> tuple[float, bool, str]:
            found = remainder(f, derivative(), *(along or (self.w, self.v)))
            advice = f"is not the derivative: the remainder {law} falls like h^{found.slope:.2f}, not h^2"
            if self.problem.is_piecewise:
                advice += " (w may lie on a kink of the activation, where there is none; check elsewhere)"
            return found.slope, found.is_right, advice

        self.record(function, f"Taylor, {law}", "2 or more", measure, needs)

    def equal(
        self,
        function: str,
        law: str,
        both: Callable[[], tuple[Any, Any]],
        needs: tuple[str, ...],
        scale: float = 0.0,
        advice: str = "",
    ) -> None:
        """Compare two ways to the same number or array."""

        def measure() -> tuple[float, bool, str]:
            a, b = (np.ravel(x) for x in both())
            size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), scale, np.finfo(float).tiny)
            difference = float(np.linalg.norm(a - b)) / size
            told = advice or f"breaks {law}: the two sides differ by {difference:.2g} of their size"
            return difference, difference <= AGREEMENT, told

        self.record(function, law, f"<= {AGREEMENT:g}", measure, needs)

    def record(
        self,
        function: str,
        law: str,
        expected: str,
        measure: Callable[[], tuple[float, bool, str]],
        needs: tuple[str, ...] = (),
    ) -> bool:
        """Try a law unless it rests on a function that is wrong; remember what came out."""
        if self.wrong.intersection((function, *needs)):
            self.checks.append(Check(function, law, np.nan, expected, None, ""))
            return False
        try:
            measured, passed, advice = measure()
        except CallbackError as error:
            function, measured, passed, advice = error.callback, np.nan, False, str(error)
        if not passed:
            self.wrong.add(function)
        self.checks.append(Check(function, law, measured, expected, passed, "" if passed else advice))
        return passed
