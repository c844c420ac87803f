"""Gradient flows with weight decay, from start to end."""

from __future__ import annotations

import math
import os
from typing import Any

from numpy.typing import ArrayLike

from grokflow._options import Callback, Decay, Observe, Request
from grokflow.checkpoint.journal import Journal, kept
from grokflow.driver import Driver, begin
from grokflow.methods import BDF, ROCK2, Curvature, Exponential, Radau
from grokflow.problems import Problem, as_problem
from grokflow.progress import to_end
from grokflow.regularizers import Regularization
from grokflow.solution import Solution


def gradient_flow(
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
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | str = "10min",
    checkpoint_errors: str = "warn",
    regularizer: Regularization = "norm",
) -> Solution:
    """Integrate the regularised gradient flow ``dw/dt = -grad F(w) - lam w``, or ``- lam grad R(w)``.

    Parameters
    ----------
    problem : Problem
        The training loss F: a model of :mod:`grokflow.models`, a :class:`LeastSquares` or an
        :class:`Objective`.
    w0 : array_like, shape (d,)
        Initial weights. They are copied, to float64.
    t_span : (float, float)
        Start and end. With weight decay `lam` the slow phase is over at about ``10 / lam``.
    weight_decay : float, mapping of str to float, Schedule or callable
        The rate `lam` >= 0, one for all weights or one for each block of `problem.blocks`, by name or by a
        pattern of :mod:`fnmatch`: ``{"*": 1e-3, "*.bias": 0.0}``. A name goes before a pattern, a pattern
        before those after it, and ``"*"`` stands for all that is left. One that changes over time is a
        function ``lam(t)``, or an object of :mod:`grokflow.schedules`, which knows where it jumps or bends:
        steps end there. Then "weight_decay" (the largest rate) and "slow_time" (its integral from the start)
        are observed too.
    method : {"auto", "BDF", "Radau", "ROCK2", "Exponential"}, or an object of these classes, default "auto"
        The integrator. "auto" is BDF; Radau for a flow that is smooth only piece by piece: a network
        whose activation has a kink ("relu", "leaky_relu", "abs"), see the notes; and Exponential where the
        loss is quadratic, in exact steps that double the time (set `max_step` for more of them), but not in
        short flows (fastest rate times time up to 1) of large systems (300 rows) at ``rtol >= 1e-6``. BDF and
        Radau are implicit; ROCK2 is explicit, and takes any problem that has a gradient.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        How the linear systems of implicit methods are solved: with the n x n tangent kernel K, with the
        d x d Hessian, or by conjugate gradients, without a matrix. "auto" is gram if residuals exist,
        n < d (or n = d > 200), K fits the memory budget (4 GiB, four matrices) and is worth its price: with
        its factorisation at most 20 gradients (60 with kinks or n <= 100, and 40 of functions of your own,
        timed once; `stats` then has ``gradient_seconds`` and ``gram_seconds``); else dense for
        d <= 200 (2000 for a quadratic loss, or one that gives no product with its Hessian);
        else adaptive, which is krylov until its iterations have cost more than kernels would, then conjugate
        gradients that a kernel preconditions until it has aged, and back where that turns; else, with n >= d,
        or where K does not fit or functions were timed, krylov.
    rtol : float, default 1e-6
        The error allowed is ``atol + rtol |w|``. BDF and Radau keep it, within a factor of 10, over the whole
        path (``benchmarks/tolerance.py``), ROCK2 in each step, which is judged by the root mean square over
        the weights.
    atol : float or array_like of shape (d,), optional
        The size of an error that does not matter beside it. Default: ``rtol / 1000``, times the size of the
        smallest block of `w0` if that is below 1 (the lower quartile of its ``|w|``, zeros left out): weights
        of 1e-12 are weights, and out of a saddle their errors grow as they do.
    t_eval : "log", None or array_like, default "log"
        When to record: on the grid ``t0 + 10^(k/14)`` from the first step on with both ends, at every
        step of the solver, or at the given times (sorted, inside `t_span`; repeats are allowed).
    observe : sequence of str, or mapping of str to (str or callable), optional
        What to record: names out of `problem.quantities`, or functions ``f(t, w)`` that return a
        number or a vector. Default: train_loss, test_loss (if there are test data), norm (``||w||``)
        and grad_norm (``||grad F||``).
    save_states : "auto", bool or path, default "auto"
        Whether the weights are recorded too. "auto" does so while they take at most 256 MiB, and no more
        than :func:`get_memory_limit`. A path that
        ends in ``.npy`` writes them to that file as they come, and `Solution.w` is a read-only map of it;
        what is there if the run is killed can be read with :meth:`Solution.load`.
    events : callable or list of callables, optional
        Functions ``f(t, w)`` whose zeros are located on the dense output. As in SciPy, an attribute
        `terminal` (True, or a count) stops the run there, and `direction` (+1, -1) selects rising or
        falling zeros. Within a step they are looked for in up to 1024 places: more zeros take a `max_step`.
    first_step : float, optional
        The first step size to try. Default: estimated.
    max_step : float, default inf
        The largest step.
    max_steps : int, optional
        The largest number of attempted steps. Default: one million.
    max_time : float, optional
        The largest wall-clock time in seconds, looked at between evaluations; with a `checkpoint` between
        steps, so that the run which takes it up has the same bits.
    callback : callable, optional
        ``callback(t, w)`` is called after each step, with a copy of the weights; it stops the run by
        returning True.
    progress : bool, default False
        Whether to show a progress bar (needs ``pip install "grokflow[app]"``).
    checkpoint : path, optional
        A file in which the state of the run is kept, so that :func:`resume` can take it up in another
        process, to the same bits. There must be no file of that name yet.
    checkpoint_every : float or str, default "10min"
        How often it is written: seconds, or such as "30s", "10min" or "1.5h". It is also written at the
        end, and before Ctrl-C or SIGTERM stop the run, which then wait for the end of a step.
    checkpoint_errors : {"warn", "raise"}, default "warn"
        What to do where it cannot be written (a full disk): go on with a :class:`CheckpointWarning`, or
        stop. The last good one stays either way.
    regularizer : {"norm", "hessian_trace", "l1"}, mapping, Regularizer or L1, default "norm"
        R, as in :func:`norm_flow`, whose drift is the limit for small lam in slow time: the flow is that of
        ``F + lam R``, with `weight_decay` for lam. The norm is weight decay itself. :class:`L1` has kinks,
        which are treated exactly. Other functions have to be smooth; they go with "dense" or "krylov". The
        value of R can be observed as "regularizer", and "train_loss" stays that of F.

    Returns
    -------
    Solution
        Numerical trouble and limits are told by its `status` and `message`, with the trajectory so far.

    Raises
    ------
    TypeError, ValueError
        Misuse, before any work.
    KeyboardInterrupt
        Ctrl-C; its attribute `solution` holds the trajectory so far. Exceptions raised by functions
        of the user's pass unchanged, with the same attribute.

    Notes
    -----
    Memory beyond the data, in vectors of d numbers: BDF keeps 13 (7 of its history, 6 of the Newton
    iteration), Radau 21, ROCK2 10 and Exponential 7; the solves in kernel space take 1 (4 with Radau),
    and 4 more while conjugate gradients with the full Hessian serve; run and record take 3, w0 and the
    result 2, the model a few. With "gram" come two matrices of n x n (five with Radau), with "dense" the
    same of d x d. Nothing else grows with d, except states that are kept.

    If the activation of a network has a kink, its gradient jumps where a neuron's pre-activation at a data
    point is 0. The flow is then the solution, in the sense of Filippov, of a differential inclusion: each of
    these surfaces is located where it is met, and crossed or slid along, as the fields on both sides have
    it; a neuron that slides leaves where its multiplier reaches 0 or 1. `Solution.mode_changes` tells all
    that. On each piece the flow is smooth. Where both sides repel, as they do once the outer weight of a
    neuron that slides has changed its sign, the solution is not unique: the side below 0 is taken where the
    field there allows it, and the change is called "split". Inner weights "V" and "b" that decay at different
    rates have a velocity across these surfaces that data do not cause: it takes part in all that.

    References
    ----------
    Filippov, Differential Equations with Discontinuous Righthand Sides, Kluwer 1988, section II.4.
    Boursier, Pesme, Dragomir, A Theoretical Framework for Grokking: Interpolation followed by Riemannian Norm
    Minimisation, NeurIPS 2025, arXiv:2505.20172, eq. (1). The solve in kernel space is described in
    `curvature.hpp`.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((20, 50))
    >>> problem = gf.models.DiagonalLinearNetwork(X, X[:, 0] - X[:, 1])
    >>> w0 = problem.initial_weights(std=0.5, seed=0)
    >>> sol = gf.gradient_flow(problem, w0, (0, 1e5), weight_decay=1e-4)
    >>> sol.success
    True
    """
    arguments = dict(locals())
    as_problem(problem)

    def run(journal: Journal | None) -> Solution:
        return flow(problem, w0, weight_decay, Request.of(arguments, journal=journal), regularizer)

    return kept("gradient_flow", arguments, run)


def flow(
    problem: Problem,
    w0: ArrayLike,
    weight_decay: Decay,
    request: Request,
    regularizer: Regularization = "norm",
) -> Solution:
    """Run a gradient flow from start to end."""

    def start(watched: Request) -> Driver:
        return Driver(*begin(problem, w0, weight_decay, watched, regularizer), problem)

    return to_end(start, Driver.solution, request, f"flow, lam = {weight_decay}")
