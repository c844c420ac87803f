"""A function of JAX as a problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from grokflow._validate import FloatArray, as_choice
from grokflow._warnings import warn
from grokflow.frameworks.jax_losses import as_function
from grokflow.frameworks.model import COARSEST, COUPLED, KERNELS, FrameworkModel, Outputs
from grokflow.frameworks.probe import SAMPLES, beside, wrong_blocks
from grokflow.losses import Loss

Apply = Callable[[Any, Any], Any]


class JaxOutputs(Outputs):
    """The outputs of ``apply(params, X)`` at its training samples."""

    def __init__(self, apply: Apply, params: Any, X: Any, *, dtype: str, chunk: int) -> None:
        if not callable(apply):
            raise TypeError(f"apply is {apply!r}; it must be a function apply(params, X)")
        paths, self._structure = jax.tree_util.tree_flatten_with_path(params)
        leaves = {jax.tree_util.keystr(path, simple=True, separator=".") or "w": leaf for path, leaf in paths}
        if len(leaves) < len(paths):
            raise ValueError("two arrays of params have the same name, keys joined by dots; rename a key")
        self._like = list(leaves.values())
        self._dtypes = [np.asarray(leaf).dtype for leaf in self._like]
        for name, kind in zip(leaves, self._dtypes, strict=True):
            if not jnp.issubdtype(kind, jnp.floating):
                raise TypeError(
                    f"params holds {kind} at {name!r}; close over constants, or make them floating"
                )
            if np.size(leaves[name]) == 0:
                raise ValueError(f"params holds an empty array at {name!r}")
        if not leaves:
            raise ValueError("params holds no array")
        own = as_choice("dtype", dtype, ["float64", "module"]) == "module"
        self._dtype = jnp.result_type(*self._dtypes) if own else np.dtype("float64")
        if self._dtype.itemsize < COARSEST:
            raise ValueError(f"params are {self._dtype}, too coarse to integrate; take dtype='float64'")
        self.single_precision = self._dtype != np.float64
        self.parameters = {name: np.shape(leaf) for name, leaf in leaves.items()}
        flat = [np.asarray(leaf, dtype=np.float64).reshape(-1) for leaf in leaves.values()]
        self._start = np.concatenate(flat) if flat else np.empty(0)
        if not np.isfinite(self._start).all():
            raise ValueError("params holds numbers that are not finite")
        self._apply, self._chunk = apply, chunk
        self._compiled: dict[str, Callable[..., Array]] = {}
        self._loss: Any = None
        self.X = self.inputs("X", X)
        self.shape = self._shape()

    def _computing(self) -> Any:
        """What surrounds every computation: numbers of the wanted precision, for this thread alone."""
        return jax.enable_x64(not self.single_precision)

    def _shape(self) -> tuple[int, int]:
        n = len(jax.tree.leaves(self.X)[0])
        with self._computing():
            f = jax.eval_shape(self._f, self._start.astype(self._dtype), self.X)
        if not hasattr(f, "shape"):
            raise TypeError(f"apply returned a {type(f).__name__}; it must return an array (n, k)")
        if len(f.shape) != 2 or f.shape[0] != n:
            raise ValueError(f"outputs have shape {f.shape}, expected ({n}, k), one row per sample")
        if f.dtype != self._dtype:
            raise TypeError(
                f"outputs are {f.dtype}, and apply is computed in {self._dtype}: it must not change that"
            )
        if not np.isfinite(self._call("_f", self._start, self.X)).all():
            raise ValueError("the outputs of apply are not finite at the params that it has")
        return n, f.shape[1]

    def inputs(self, name: str, X: Any) -> Any:
        """`X`, an array or a tree of such, with one sample per row."""
        with self._computing():
            X = jax.tree.map(self._cast, X)
        rows = {leaf.shape[:1] for leaf in jax.tree.leaves(X)}
        if len(rows) != 1 or rows <= {(), (0,)}:
            raise ValueError(f"{name} must hold one sample per row, as many in each array")
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(X)):
            raise ValueError(f"{name} holds numbers that are not finite")
        return X

    def _cast(self, values: ArrayLike) -> Array:
        x: Array = jnp.asarray(values)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise TypeError(f"inputs are {x.dtype}; they must be real numbers")
        return x.astype(self._dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    def tree(self, w: Array) -> Any:
        """The parameters as `apply` takes them."""
        parts = (w[block].reshape(self.parameters[name]) for name, block in self.blocks.items())
        return jax.tree.unflatten(self._structure, parts)

    def _f(self, w: Array, X: Any) -> Array:
        return self._apply(self.tree(w), X)

    def _jvp(self, w: Array, v: Array, X: Any) -> Array:
        return jax.jvp(lambda w: self._f(w, X), (w,), (v,))[1]

    def _vjp(self, w: Array, u: Array, X: Any) -> Array:
        return jax.vjp(lambda w: self._f(w, X), w)[1](u)[0]

    def _hvp(self, w: Array, v: Array, X: Any) -> Array:
        return jax.jvp(jax.grad(lambda w: self._loss(self._f(w, X))), (w,), (v,))[1]

    def _gram(self, w: Array, X: Any, names: tuple[str, ...]) -> Array:
        """The sum of J_p J_p^T over parameters, whose rows are formed one parameter at a time."""

        def rows(block: slice, x: Any) -> Array:
            sample = jax.tree.map(lambda a: a[None], x)
            return jax.jacrev(lambda part: self._f(w.at[block].set(part), sample)[0])(w[block])

        K: Any = 0.0
        for name in names:
            J = jax.lax.map(partial(rows, self.blocks[name]), X, batch_size=self._chunk)
            J = J.reshape(-1, J.shape[-1])
            K += J @ J.T
        return K

    def choose_kernel(self, wanted: str) -> str:
        """Return "parameters" if that makes K, else "none", with a warning."""
        if as_choice("kernel", wanted, [kind for kind in KERNELS if kind != "hooks"]) == "none":
            return "none"
        few = jax.tree.map(lambda a: a[:SAMPLES], self.X)
        point = beside(self._start).astype(self._dtype)
        size = len(jax.tree.leaves(few)[0]) * self.shape[1]
        wrong = wrong_blocks(
            {"all": slice(0, point.size)},
            jvp=lambda v: np.ravel(self._call("_jvp", point, v, few)),
            vjp=lambda u: self._call("_vjp", point, u.reshape(-1, self.shape[1]), few),
            gram=lambda name: self._call("_gram", point, few, tuple(self.blocks)),
            size=size,
            tolerance=1e-3 if self.single_precision else 1e-8,
        )
        if wrong:
            warn(COUPLED)
        return "none" if wrong else "parameters"

    def params(self, w: FloatArray) -> Any:
        """The parameters as they were given, arrays of JAX or of NumPy, with the numbers of w."""
        parts = zip(self.blocks.items(), self._dtypes, strict=True)
        leaves = [w[block].reshape(self.parameters[name]).astype(kind) for (name, block), kind in parts]
        with jax.enable_x64(True):  # or what was double would come back single
            like = zip(self._like, leaves, strict=True)
            arrays = [jnp.asarray(leaf) if isinstance(old, Array) else leaf for old, leaf in like]
        return jax.tree.unflatten(self._structure, arrays)

    def set_loss(self, criterion: Loss, targets: Any, scale: float) -> None:
        """Let F be that loss."""
        with self._computing():
            total = as_function(criterion, targets, self._dtype)
        self._loss = lambda f: scale * total(f)

    def weights(self) -> FloatArray:
        """The parameters that were given, flat."""
        return np.array(self._start)

    def require_function_of_weights(self) -> None:
        """A function of JAX is one."""

    def outputs(self, w: FloatArray) -> FloatArray:
        """The outputs at the training samples."""
        return self.at(w, self.X)

    def at(self, w: FloatArray, X: Any) -> FloatArray:
        """The outputs at the samples X."""
        return self._call("_f", w, X)

    def linearize(self, w: FloatArray) -> tuple[FloatArray, Array]:
        """The outputs, and w on the device."""
        with self._computing():
            point = jnp.asarray(w, dtype=self._dtype)
        return self._call("_f", point, self.X), point

    def jvp(self, point: Array, v: FloatArray) -> FloatArray:
        """J v."""
        return self._call("_jvp", point, v, self.X)

    def vjp(self, point: Array, u: FloatArray) -> FloatArray:
        """J^T u."""
        return self._call("_vjp", point, u, self.X)

    def hvp(self, point: Array, v: FloatArray) -> FloatArray:
        """Hess F v."""
        return self._call("_hvp", point, v, self.X)

    def gram(self, point: Array, begin: int, end: int) -> FloatArray:
        """J_S J_S^T for the parameters S = begin, ..., end - 1."""
        return self._call("_gram", point, self.X, self.names_within(begin, end))

    def _call(self, name: str, *arguments: Any) -> FloatArray:
        """What a function of this class returns, compiled."""
        if name not in self._compiled:
            self._compiled[name] = jax.jit(getattr(self, name), static_argnums=2 if name == "_gram" else ())
        real = [a.astype(self._dtype) if isinstance(a, np.ndarray) else a for a in arguments]
        with self._computing():
            array: FloatArray = np.asarray(self._compiled[name](*real), dtype=np.float64)
        return array


class JaxModel(FrameworkModel):
    """A function of JAX with a loss; see :func:`grokflow.from_jax`."""

    _network: JaxOutputs

    def params(self, w: ArrayLike) -> Any:
        """Return the weights `w` as a tree like that which the model was made from, in its dtypes."""
        return self._network.params(self._weights(w))
