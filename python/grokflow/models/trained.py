"""A problem of which some weights are trained, and the others stay where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_vector
from grokflow.models.model import Model
from grokflow.patterns import key_of, stands_for
from grokflow.problems import Problem, require_problem


class Trained(Model):
    """A problem in some of its weights: blocks are trained, or have adapters of low rank, or are fixed.

    An adapted block is ``W + A @ B.T`` with W fixed, and A and B trained. Frozen output weights, a network
    without inner biases (fixed at 0), a trained readout, adapters of a trained network: all are this.

    Parameters
    ----------
    problem : Problem
        Any: a model, or one of your own.
    w : array_like, shape (d,)
        All its weights: what is fixed stays there, what is trained begins there.
    train : sequence of str, optional
        Blocks of `problem`, by name or pattern: ``["V"]``, ``["W*"]``.
    adapt : mapping of str to int, optional
        Blocks that are matrices, by name or pattern, and the rank of their adapters: ``{"W*": 4}``.

    Raises
    ------
    TypeError
        If `problem` is none, or a rank no integer.
    ValueError
        If a name stands for no block, a block is named twice or has no matrix, nothing is trained, or
        inner weights of a two-layer network whose activation has a kink are to be adapted.

    Notes
    -----
    Blocks keep their names; adapters are "W1.A", shape (out, rank), and "W1.B", shape (in, rank).
    :meth:`initial_weights` gives trained blocks as they are in `w`, plus noise if `std` asks for some; A is
    drawn with variance 1/rank and B is 0, so that adapters change nothing at first. Quantities are those of
    `problem` at all of its weights, but "norm" and "grad_norm", which are those of the trained ones. A
    two-layer network whose activation has a kink keeps its exact treatment, whichever blocks are trained;
    adapters of its inner weights are refused. The tangent kernel of trained blocks is that which the problem
    itself makes of them; that of adapters takes n products with J.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> net = gf.models.TwoLayerNetwork(np.ones((2, 3)), [1.0, 2.0], width=4)
    >>> w = net.initial_weights(seed=0)
    >>> inner = gf.models.Trained(net, w, train=["V", "b"])  # output weights are frozen
    >>> list(inner.blocks)
    ['V', 'b']
    """

    _core: core.MappedProblem

    def __init__(
        self,
        problem: Problem,
        w: ArrayLike,
        *,
        train: Sequence[str] = (),
        adapt: Mapping[str, int] | None = None,
    ) -> None:
        self._of = require_problem(problem)
        start = as_vector("w", w, problem.num_params).copy()
        names, ranks = as_train(train, problem), as_adapt(adapt or {}, problem)
        twice = [block for block in names if block in ranks]
        if twice:
            raise ValueError(f"{twice[0]!r} is both in train and in adapt; choose one")
        if not names and not ranks:
            raise ValueError(f"nothing is trained; name blocks of {list(problem.blocks)} in train or adapt")
        choices = [*((name, 0) for name in names), *ranks.items()]
        compiled = core.MappedProblem(problem._core, start, choices)
        std = {
            name: ranks[name[:-2]] ** -0.5 if name[:-2] in ranks and name.endswith(".A") else 0.0
            for name, _, _ in compiled.blocks()
        }
        self._layers = ()
        super().__init__(compiled, std, {"problem": problem, "w": start, "train": names, "adapt": ranks})
        for name in names:
            self._origin[self.blocks[name]] = start[problem.blocks[name]]
        self._classes = problem._classes
        self._kinks = problem._kinks

    def embed(self, w: ArrayLike) -> FloatArray:
        """Return all weights of the problem, shape (d,), of the trained ones."""
        return self._core.embed(self._weights(w))

    def predict(self, w: ArrayLike, *arguments: Any) -> FloatArray:
        """Return what the problem predicts, which has to be a model; other arguments are those of its own."""
        predicted: FloatArray = self._of.predict(self.embed(w), *arguments)  # type: ignore[attr-defined]
        return predicted

    def _outputs_at(self, w: FloatArray, test: bool) -> FloatArray:
        return self._of._outputs_at(self.embed(w), test)


def as_train(train: object, problem: Problem) -> list[str]:
    """Return the blocks of `problem` that these names and patterns stand for, in order."""
    if isinstance(train, str) or not isinstance(train, Sequence):
        raise TypeError(f"train is {train!r}; it must be a list of names of blocks, e.g. ['V']")
    for key in train:
        require_block("train", key, problem)
    return [block for block in problem.blocks if any(stands_for(key, block) for key in train)]


def as_adapt(adapt: object, problem: Problem) -> dict[str, int]:
    """Return the ranks of adapters by block of `problem`."""
    if not isinstance(adapt, Mapping):
        raise TypeError(f"adapt is {adapt!r}; it must map names of blocks to ranks, e.g. {{'W1': 4}}")
    for key in adapt:
        require_block("adapt", key, problem)
    found = {}
    for block in problem.blocks:
        key = key_of(block, adapt)
        if key not in adapt:
            continue
        shape = problem._shapes[block][1]
        if len(shape) != 2:
            raise ValueError(f"adapt names {block!r} of shape {shape}; an adapter is of a matrix")
        found[block] = as_count(f"adapt[{key!r}]", adapt[key], min(shape))
    return found


def require_block(name: str, key: object, problem: Problem) -> None:
    """Raise ValueError if `key` stands for no block of `problem`."""
    if not any(stands_for(key, block) for block in problem.blocks):
        raise ValueError(f"{name} names {key!r}; this problem has the blocks {list(problem.blocks)}")
