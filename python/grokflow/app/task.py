"""What ``grokflow run`` and ``limit`` start from: settings, the table split, the model, and a directory."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

import grokflow as gf
from grokflow.app import data
from grokflow.app.build import version_line
from grokflow.app.report import writable_directory
from grokflow.app.settings import Common, LimitSettings, S, Settings, as_widths, to_toml
from grokflow.checkpoint.journal import Journal, as_checkpoint_path
from grokflow.figures.style import scientific
from grokflow.files import FileError, contents_of, write_atomically

KINDS: dict[str, type[Common]] = {"gradient_flow": Settings, "two_phase": LimitSettings}


@dataclass(frozen=True)
class Task(Generic[S]):
    """A model on the user's own table, where it starts, and where its results go."""

    settings: S
    parts: data.Split
    problem: gf.models.Model
    w0: NDArray[np.float64]
    out: Path

    def title(self, weight_decay: float) -> str:
        """Return what stands above a figure."""
        decay = scientific(weight_decay) if weight_decay else "0"
        return f"{self.settings.model} on {Path(self.settings.data or '').name}, $\\lambda$ = {decay}"

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
    w0 = problem.initial_weights(settings.init_scale, settings.seed)
    return Task(settings, parts, problem, w0, writable_directory(Path(settings.out)))


def load(settings: S) -> tuple[S, data.Split]:
    """Read and split the table; return the settings with its checksum, which guards a repetition."""
    path = Path(settings.data or "")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    if settings.data_sha256 not in (None, checksum):
        raise FileError(
            f"{path} has changed since these settings were written; to use it as it is, remove data_sha256"
        )
    table = data.read(path, settings.target, settings.ignore)
    parts = data.split(table, settings.test_fraction, settings.split_seed, settings.standardise)
    return dataclasses.replace(settings, data_sha256=checksum), parts


def build(settings: Common, parts: data.Split) -> gf.models.Model:
    """Return the model that ``settings`` name on the training part, with the test part if there is one."""
    test = (parts.X_test, parts.y_test) if len(parts.y_test) else None
    if settings.model == "linear":
        return gf.models.LinearRegression(parts.X, parts.y, test=test)
    if settings.model == "diagonal":
        return gf.models.DiagonalLinearNetwork(parts.X, parts.y, test=test)
    activation: dict[str, Any] = {
        name: getattr(settings, name) for name in ("activation", "negative_slope", "smoothing")
    }
    if settings.model == "mlp":
        return gf.models.MLP(parts.X, parts.y, as_widths(settings), test=test, **activation)
    assert settings.output_scale is not None  # merge has filled it in
    return gf.models.TwoLayerNetwork(
        parts.X,
        parts.y,
        width=settings.width,
        output_bias=settings.output_bias,
        output_scale=settings.output_scale,
        test=test,
        **activation,
    )
