"""What ``grokflow run`` and ``limit`` start from: settings, the table split, the model, and a directory."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

import grokflow as gf
from grokflow._validate import FloatArray
from grokflow.app import data
from grokflow.app.build import version_line
from grokflow.app.report import writable_directory
from grokflow.app.settings import (
    OF_ENTRIES,
    Common,
    LimitSettings,
    S,
    Settings,
    as_coefficients,
    as_widths,
    to_toml,
)
from grokflow.checkpoint.journal import Journal, as_checkpoint_path
from grokflow.figures.style import scientific
from grokflow.files import FileError, contents_of, write_atomically

KINDS: dict[str, type[Common]] = {"gradient_flow": Settings, "two_phase": LimitSettings}


@dataclass(frozen=True)
class Task(Generic[S]):
    """A model on the user's own table, where it starts, and where its results go."""

    settings: S
    parts: data.Split
    problem: Any  # with initial_weights
    w0: NDArray[np.float64]
    out: Path

    @property
    def model(self) -> str:
        """The name of the model: of torch:FILE.py:FUNCTION, the function."""
        return self.settings.model.rpartition(":")[2]

    def title(self, weight_decay: float) -> str:
        """Return what stands above a figure."""
        decay = scientific(weight_decay) if weight_decay else "0"
        return f"{self.model} on {Path(self.settings.data or '').name}, $\\lambda$ = {decay}"

    def keeping(self) -> dict[str, Any]:
        """Return the arguments by which a run keeps its state, with what `taken_up` needs, if it is to."""
        settings = self.settings
        if settings.checkpoint is None:
            return {}
        here = {"data": str(Path(settings.data or "").resolve()), "out": str(self.out.resolve())}
        note = {
            "settings": dataclasses.asdict(settings) | here,
            "parts": dataclasses.asdict(self.parts),
        }
        return {
            "checkpoint": Journal(as_checkpoint_path(settings.checkpoint), note),
            "checkpoint_every": settings.checkpoint_every,
            "checkpoint_errors": settings.checkpoint_errors,
        }

    def write_inputs(self) -> None:
        """Write settings.toml and data.npz; not before there are results: bad settings change nothing."""
        write_atomically(self.out / "settings.toml", to_toml(self.settings, version_line()))
        stream = io.BytesIO()
        np.savez(stream, **dataclasses.asdict(self.parts))
        write_atomically(self.out / "data.npz", stream.getvalue())


def prepare(settings: S) -> Task[S]:
    """Read the table, build the model and make the directory.

    Raises
    ------
    ValueError, OSError
        A setting or the table is wrong, or the directory cannot be written to.
    """
    return begin(*load(settings))


def taken_up(journal: Journal, out: Path | None) -> Task[Any]:
    """Return the task whose state is in a file, to write into `out`, by default where it would have.

    Raises
    ------
    FileError
        No command has begun this run.
    OSError
        The directory cannot be written to.
    """
    if journal.note is None:
        raise FileError(
            f"{journal.path} was written by grokflow.{journal.function}: take it up in Python, by "
            "grokflow.resume"
        )
    with contents_of(journal.path, "checkpoint"):
        settings = KINDS[journal.function](**journal.note["settings"])
        parts = data.Split(**journal.note["parts"])
    if out is not None:
        settings = dataclasses.replace(settings, out=str(out))
    return begin(settings, parts)


def begin(settings: S, parts: data.Split) -> Task[S]:
    """Build the model and make the directory."""
    problem = build(settings, parts)
    return Task(settings, parts, problem, weights(settings, problem), writable_directory(Path(settings.out)))


def weights(settings: Common, problem: Any) -> FloatArray:
    """Return the initial weights that ``settings`` name."""
    if settings.model.startswith("torch:"):
        start = problem.initial_weights()
    elif settings.init == "normal":
        start = problem.initial_weights(settings.init_scale, settings.seed)
    else:
        scale = 1.0 if settings.init_scale is None else settings.init_scale
        start = problem.initial_weights(seed=settings.seed, init=settings.init, scale=scale)
    return np.asarray(start)


def load(settings: S) -> tuple[S, data.Split]:
    """Read and split the table; return the settings with its checksum, which guards a repetition."""
    path = Path(settings.data or "")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    if settings.data_sha256 not in (None, checksum):
        raise FileError(
            f"{path} has changed since these settings were written; to use it as it is, remove data_sha256"
        )
    entries = settings.model in OF_ENTRIES
    table = data.read(path, settings.target, settings.ignore, settings.loss, entries)
    parts = data.split(table, settings.test_fraction, settings.split_seed, settings.standardise, entries)
    return dataclasses.replace(settings, data_sha256=checksum), parts


def build(settings: Common, parts: data.Split) -> Any:
    """Return the model that ``settings`` name on the training part, with the test part if there is one."""
    if settings.model in OF_ENTRIES:
        return matrix(settings, parts)
    test = (parts.X_test, parts.y_test) if len(parts.y_test) else None
    options: dict[str, Any] = {"test": test}
    if settings.loss == "cross_entropy":
        options["loss"] = gf.losses.CrossEntropy(settings.label_smoothing)
    elif settings.loss not in ("squares", "mse"):
        options["loss"] = settings.loss
    if settings.model.startswith("torch:"):
        with errors_told(settings.model):
            return gf.from_torch(made_module(settings, parts), parts.X, parts.y, **options)
    if settings.model == "linear":
        return gf.models.LinearRegression(parts.X, parts.y, **options)
    if settings.model == "diagonal":
        return gf.models.DiagonalLinearNetwork(parts.X, parts.y, **options)
    if settings.model == "deep-diagonal":
        return gf.models.DeepDiagonalNetwork(parts.X, parts.y, depth=settings.depth, **options)
    if settings.model == "deep-linear":
        return gf.models.DeepLinearNetwork(parts.X, parts.y, as_widths(settings), **options)
    activation: dict[str, Any] = {
        name: getattr(settings, name) for name in ("activation", "negative_slope", "smoothing")
    } | {"coefficients": as_coefficients(settings)}
    if settings.model == "mlp":
        return gf.models.MLP(parts.X, parts.y, as_widths(settings), **options, **activation)
    assert settings.width is not None  # merge has filled it in
    assert settings.output_scale is not None
    activation |= {"width": settings.width, "output_scale": settings.output_scale}
    if settings.model == "random-features":
        return gf.models.RandomFeatures(parts.X, parts.y, seed=settings.seed, **options, **activation)
    return gf.models.TwoLayerNetwork(
        parts.X,
        parts.y,
        output_bias=settings.output_bias,
        **options,
        **activation,
    )


def matrix(
    settings: Common, parts: data.Split
) -> gf.models.MatrixCompletion | gf.models.DeepMatrixCompletion:
    """Return the factorisation of a matrix of which a table holds row, column and value of some entries."""
    X = np.concatenate([parts.X, parts.X_test])
    if X.shape[1] != 2 or parts.y.ndim != 1 or settings.loss not in ("squares", "mse"):
        raise ValueError(
            f"model {settings.model!r} takes two columns, row and column, a value to predict and loss "
            f"'squares'; there are {X.shape[1]} columns beside {parts.y[0].size} target(s), and the loss is "
            f"{settings.loss!r}"
        )
    bad = np.flatnonzero(((X < 0) | (np.floor(X) != X) | (X >= 2**31)).any(axis=1))
    if bad.size:
        raise ValueError(
            f"model 'matrix': a row and a column are counted 0, 1, ...; found {X[bad[0]].tolist()}"
        )
    rows, columns = (int(n) + 1 for n in X.max(axis=0))
    known, held_out = parts.X.astype(np.int64).T, parts.X_test.astype(np.int64).T
    entries = known[0], known[1], parts.y
    options: dict[str, Any] = {
        "shape": (rows, columns),
        "test": (held_out[0], held_out[1], parts.y_test) if len(parts.y_test) else None,
    }
    if settings.model == "deep-matrix":
        return gf.models.DeepMatrixCompletion(*entries, widths=as_widths(settings), **options)
    return gf.models.MatrixCompletion(*entries, width=settings.width or min(rows, columns), **options)


@contextmanager
def errors_told(model: str) -> Iterator[None]:
    """Turn what a model of the user's raises, in its file or later, into a line that says where."""
    file = model.removeprefix("torch:").rpartition(":")[0]
    try:
        yield
    except Exception as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
        ]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        if not lines and isinstance(error, ValueError | OSError):
            raise
        where = f"{file}, line {lines[-1]}" if lines else f"the module of {model}"
        raise FileError(f"{where}: {type(error).__name__}: {error}") from error


def made_module(settings: Common, parts: data.Split) -> Any:
    """Return the module of PyTorch that the function of a file of the user's makes."""
    file, _, name = settings.model.removeprefix("torch:").rpartition(":")
    if not file or not name:
        raise ValueError(f"model is {settings.model!r}; it must be torch:FILE.py:FUNCTION")
    for setting, default in (("init_scale", None), ("init", "normal")):
        if getattr(settings, setting) != default:
            raise ValueError(f"{setting} is given, but a module comes with its initial weights; leave it out")
    import torch

    spec = importlib.util.spec_from_file_location("grokflow_user_model", file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise FileError(f"{file} is no Python file with a model")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    make = getattr(made, name, None)
    if not callable(make) or isinstance(make, torch.nn.Module):
        is_one = ": that is a module itself; name what makes it" if callable(make) else ""
        raise FileError(f"{file} has no function {name!r}{is_one}")
    torch.manual_seed(settings.seed)
    takes = len(inspect.signature(make).parameters)
    outputs = int(np.prod(parts.y.shape[1:]))
    module = make(parts.X.shape[1], outputs) if takes >= 2 else make()
    if not isinstance(module, torch.nn.Module):
        raise FileError(f"{name} of {file} returned a {type(module).__name__}; it must return a module")
    return module
