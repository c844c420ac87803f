"""The settings of ``grokflow run``: one list of names for the command line, the TOML file and the program."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import tomli_w

from grokflow.app.data import unknown
from grokflow.files import FileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
PATHS = ("data", "out")  # relative to the settings file that names them


def option(default: T, text: str) -> T:
    """Declare a setting with its help text."""
    field: T = dataclasses.field(default=default, metadata={"help": text})
    return field


@dataclass(frozen=True)
class Settings:
    """What a run is made of. In the file and here words are joined by "_", on the command line by "-"."""

    data: str | None = option(None, "Table to learn: .csv with a header, or .npz with X (n, p) and y (n,).")
    target: str | None = option(None, "Column to predict (.csv).")
    ignore: list[str] = dataclasses.field(
        default_factory=list, metadata={"help": "Column to leave out (.csv)."}
    )
    test_fraction: float = option(0.2, "Fraction of the rows that is held out for the test loss.")
    split_seed: int = option(0, "Seed of the split.")
    standardise: bool = option(
        True, "Shift and scale columns and target to mean 0 and deviation 1 (of the training rows)."
    )
    model: str = option("two-layer", "two-layer, linear or diagonal.")
    width: int = option(200, "Hidden neurons (two-layer).")
    activation: str = option("tanh", "tanh, erf, softplus, gelu, quadratic or identity (two-layer).")
    output_scale: float | None = option(
        None, "Factor before the output (two-layer).  [default: 1/sqrt(width)]"
    )
    output_bias: bool = option(True, "A bias on the output (two-layer).")
    seed: int = option(0, "Seed of the initial weights.")
    init_scale: float | None = option(
        None, "Standard deviation of the initial weights.  [default: the model's own]"
    )
    weight_decay: float = option(1e-4, "The coefficient lam of dw/dt = -grad F(w) - lam w.")
    t_end: float | None = option(None, "End of the run.  [default: 10/weight-decay]")
    method: str = option("BDF", "BDF or Radau.")
    curvature: str = option("auto", "auto, gram or dense.")
    rtol: float = option(1e-6, "Relative tolerance.")
    atol: float = option(1e-9, "Absolute tolerance.")
    max_time: float | None = option(None, "Stop after so many seconds, with the trajectory so far.")
    out: str = option("grokflow-run", "Directory for the results.")
    data_sha256: str | None = option(None, "Refuse a table with another checksum.")


KINDS: dict[str, type] = {
    name: next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    if hint != list[str]
    else list
    for name, hint in get_type_hints(Settings).items()
}


def read_settings(path: Path) -> dict[str, Any]:
    """Read a settings file; its paths count from the directory that it is in.

    Raises
    ------
    FileError
        The file is not TOML, or it has an unknown name or a value of the wrong kind.
    OSError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            raw = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not TOML: {error}") from None
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name not in KINDS:
            raise FileError(f"{path}: {unknown('setting', key, KINDS)}")
        if name in values:
            raise FileError(f"{path}: {name!r} is given twice (once with a dash)")
        values[name] = _checked(path, key, value, KINDS[name])
    for name in PATHS:
        if name in values:
            values[name] = str(path.parent / values[name])
    return values


def merge(from_file: Mapping[str, Any], from_command_line: Mapping[str, Any]) -> Settings:
    """Return the settings: what the command line says, else the file, else the defaults."""
    given = {name: value for name, value in from_command_line.items() if value is not None}
    values = {**from_file, **given}
    if "data" in given and "data_sha256" not in given:
        values.pop("data_sha256", None)  # that was the checksum of another table
    settings = Settings(**values)
    _check(settings)
    if settings.t_end is None:
        settings = dataclasses.replace(settings, t_end=10.0 / settings.weight_decay)
    if settings.output_scale is None:
        settings = dataclasses.replace(settings, output_scale=settings.width**-0.5)
    return settings


def to_toml(settings: Settings, comment: str) -> bytes:
    """Return ``settings`` as a file that repeats the run into the directory that the file is in."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if v is not None and k not in PATHS}
    values = {"data": str(Path(settings.data or "").resolve()), "out": ".", **values}
    return f"# {comment}\n{tomli_w.dumps(values)}".encode()


def _checked(path: Path, key: str, value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if type(value) is not kind or (kind is list and not texts):
        expected = {str: "a text in quotes", int: "an integer", float: "a number", bool: "true or false"}
        what = expected.get(kind, "a list of texts")
        raise FileError(f"{path}: {key} is {value!r}; it must be {what}")
    return value


def _check(settings: Settings) -> None:
    """Check what no later step does."""
    if settings.data is None:
        raise ValueError("no data: give a table with --data FILE.csv, or a settings file that names one")
    if settings.model not in ("two-layer", "linear", "diagonal"):
        raise ValueError(unknown("model", settings.model, ("two-layer", "linear", "diagonal")))
    if not 0.0 <= settings.test_fraction < 1.0:
        raise ValueError(f"test_fraction is {settings.test_fraction}; it must be at least 0 and below 1")
    for name in ("seed", "split_seed"):
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must not be negative")
    if settings.width < 1:
        raise ValueError(f"width is {settings.width}; it must be at least 1")
    if not 0.0 <= settings.weight_decay < math.inf:
        raise ValueError(f"weight_decay is {settings.weight_decay}; it must be finite and not negative")
    if settings.t_end is None and settings.weight_decay == 0.0:
        raise ValueError("weight_decay is 0; give t_end as well (its default is 10/weight_decay)")
