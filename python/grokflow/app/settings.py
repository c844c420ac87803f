"""The settings of ``grokflow run`` and ``limit``: one list of names for options, TOML file and program."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tomli_w

from grokflow._validate import as_count
from grokflow.app.data import unknown
from grokflow.checkpoint.journal import as_seconds
from grokflow.files import FileError
from grokflow.losses import NAMES as LOSSES
from grokflow.models.initial import NAMES as INITS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MODELS = (
    "two-layer",
    "mlp",
    "linear",
    "diagonal",
    "matrix",
    "deep-diagonal",
    "deep-linear",
    "deep-matrix",
    "random-features",
)
OF_ENTRIES = ("matrix", "deep-matrix")  # tables of row, column, value
WIDTH = 200  # of a two-layer network
PATHS = ("data", "out", "checkpoint")  # relative to the settings file that names them
NAMES = {  # of the types of settings, one and several
    str: ("a text in quotes", "texts"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
}


def option(default: T, text: str) -> T:
    """Declare a setting with its help text."""
    field: T = dataclasses.field(default=default, metadata={"help": text})
    return field


@dataclass(frozen=True)
class Common:
    """What `run` and `limit` share: table, model, accuracy and directory.

    In the file and here words are joined by "_", on the command line by "-".
    """

    data: str | None = option(
        None, "Table to learn: .csv with a header, or .npz with X (n, p) and y (n,) or (n, k)."
    )
    target: list[str] = dataclasses.field(
        default_factory=list,
        metadata={"help": "Column to predict (.csv): numbers or classes; repeat the option for several."},
    )
    ignore: list[str] = dataclasses.field(
        default_factory=list, metadata={"help": "Column to leave out (.csv)."}
    )
    test_fraction: float = option(0.2, "Fraction of the rows that is held out for the test loss.")
    split_seed: int = option(0, "Seed of the split.")
    standardise: bool = option(
        True,
        "Shift and scale columns and targets, not classes, to mean 0 and deviation 1 (of the training rows).",
    )
    model: str = option(
        "two-layer",
        "two-layer, mlp, linear, diagonal, deep-diagonal, deep-linear, random-features, matrix, deep-matrix "
        "(of a table of row, column, value), or torch:FILE.py:FUNCTION, where FUNCTION(inputs, outputs), or "
        "FUNCTION(), returns a module.",
    )
    loss: str = option("squares", "squares, cross_entropy or logistic (of classes), or huber.")
    label_smoothing: float = option(
        0.0, "Share of the targets that is spread over all classes (cross_entropy)."
    )
    width: int | None = option(
        None,
        "Hidden neurons (two-layer, random-features), or rank at most (matrix).  [default: 200; the smaller "
        "side]",
    )
    widths: str = option(
        "200,200", "Neurons of each hidden layer, from the inputs on (mlp, deep-linear, deep-matrix)."
    )
    depth: int = option(3, "L of u^L - v^L (deep-diagonal).")
    activation: str = option(
        "tanh",
        "tanh, erf, softplus, gelu, sigmoid, quadratic, polynomial, identity or smooth_relu (two-layer, "
        "mlp); relu, leaky_relu or abs (two-layer).",
    )
    negative_slope: float | None = option(None, "Slope of leaky_relu below 0.  [default: 0.01]")
    smoothing: float | None = option(None, "Width of smooth_relu.  [default: 0.01]")
    coefficients: str | None = option(
        None, "Coefficients of a polynomial, of 1, z, z^2, ..., with commas between."
    )
    output_scale: float | None = option(
        None, "Factor before the output (two-layer).  [default: 1/sqrt(width)]"
    )
    output_bias: bool = option(True, "A bias on the output (two-layer).")
    seed: int = option(0, "Seed of the initial weights.")
    init: str = option(
        "normal",
        "Initial weights: normal, he, lecun, xavier, mean_field, orthogonal, identity, constant or balanced.",
    )
    init_scale: float | None = option(
        None, "Their standard deviation (normal), or a factor.  [default: the model's own; 1]"
    )
    method: str = option("auto", "BDF, Radau or auto.")
    curvature: str = option("auto", "auto, gram, dense or krylov.")
    rtol: float = option(1e-6, "Relative tolerance.")
    atol: float | None = option(None, "Absolute tolerance.  [default: rtol/1000, or less for small weights]")
    max_time: float | None = option(None, "Stop after so many seconds, with the trajectory so far.")
    out: str = option("grokflow-run", "Directory for the results.")
    checkpoint: str | None = option(
        None, "Keep the state of the run in this new file, from which `grokflow resume` goes on."
    )
    checkpoint_every: str = option("10min", "How often: 30s, 10min, 1.5h.")
    checkpoint_errors: str = option(
        "warn", "Where that fails (a full disk): warn and go on, or raise and stop."
    )
    data_sha256: str | None = option(None, "Refuse a table with another checksum.")


@dataclass(frozen=True)
class Settings(Common):
    """What ``grokflow run`` is made of."""

    weight_decay: float = option(1e-4, "The coefficient lam of dw/dt = -grad F(w) - lam w.")
    t_end: float | None = option(None, "End of the run.  [default: 10/weight-decay]")


@dataclass(frozen=True)
class LimitSettings(Common):
    """What ``grokflow limit`` is made of."""

    weight_decay: list[float] = dataclasses.field(
        default_factory=lambda: [1e-3, 1e-4, 1e-5],
        metadata={"help": "Rate lam of a flow to compare with the limit; repeat the option for several."},
    )
    s_end: float | Literal["auto"] = option(
        10.0, "End in slow time s = lam t, or auto: where the drift has come to rest."
    )
    eps: float = option(0.1, "Slow time from which flows and drift are compared.")
    kappa: float = option(
        10.0, "The horizon is where the smallest non-zero eigenvalue of the Hessian falls below kappa lam."
    )
    max_time: float | None = option(None, "Stop each flow after so many seconds, with its trajectory so far.")
    out: str = option("grokflow-limit", "Directory for the results.")


S = TypeVar("S", Settings, LimitSettings)


def kinds(settings: type[Common]) -> dict[str, Any]:
    """Return the type of each setting: a plain one, or list[str] or list[float]."""
    hints = get_type_hints(settings)
    return {
        name: next((kind for kind in get_args(hint) if kind is not type(None)), hint)
        if get_origin(hint) is not list
        else hint
        for name, hint in hints.items()
    }


def words(settings: type[Common]) -> dict[str, tuple[str, ...]]:
    """Return the words that a setting takes in place of a number."""
    return {
        name: get_args(kind)
        for name, hint in get_type_hints(settings).items()
        for kind in get_args(hint)
        if get_origin(kind) is Literal
    }


def read_settings(
    path: Path, settings: type[Common], over: dict[str, list[Any]] | None = None
) -> dict[str, Any]:
    """Read a file of such settings; its paths count from the directory that it is in.

    Lists in place of one setting, which is no path, go to `over`, if that is given.

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
    except (ValueError, RecursionError) as error:  # also where it nests or counts beyond Python's limits
        table = "" if path.suffix == ".toml" else "; a table to learn is given by the setting data, --data"
        raise FileError(f"{path} is not TOML: {error}{table}") from None
    values: dict[str, Any] = {}
    known, allowed = kinds(settings), words(settings)
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name not in known:
            raise FileError(f"{path}: {unknown('setting', key, known)}")
        if name in values or name in (over or {}):
            raise FileError(f"{path}: {name!r} is given twice (once with a dash)")
        kind = known[name]
        if (
            over is not None
            and isinstance(value, list)
            and get_origin(kind) is not list
            and name not in PATHS
        ):
            over[name] = _checked(path, key, value, list[kind])  # type: ignore[valid-type]
        else:
            values[name] = value if value in allowed.get(name, ()) else _checked(path, key, value, kind)
    for name in PATHS:
        if name in values:
            values[name] = str(path.parent / values[name])
    if "model" in values:
        values["model"] = beside(path.parent, values["model"])
    return values


def beside(directory: Path, model: str) -> str:
    """Return the name of a model, the file of which counts from that directory."""
    file, _, function = model.removeprefix("torch:").rpartition(":")
    return (
        f"torch:{(directory / file).resolve()}:{function}" if model.startswith("torch:") and file else model
    )


def merge(kind: type[S], from_file: Mapping[str, Any], from_command_line: Mapping[str, Any]) -> S:
    """Return the settings: what the command line says, else the file, else the defaults."""
    given = {name: value for name, value in from_command_line.items() if value not in (None, [])}
    values = {**from_file, **given}
    if "data" in given and "data_sha256" not in given:
        values.pop("data_sha256", None)  # that was the checksum of another table
    settings = kind(**values)
    settings = dataclasses.replace(settings, model=beside(Path(), settings.model))
    _check(settings)
    if isinstance(settings, Settings) and settings.t_end is None:
        settings = dataclasses.replace(settings, t_end=10.0 / settings.weight_decay)
    if settings.model in ("two-layer", "random-features"):
        width = settings.width or WIDTH
        scale = width**-0.5 if settings.output_scale is None else settings.output_scale
        settings = dataclasses.replace(settings, width=width, output_scale=scale)
    return settings


def as_widths(settings: Common) -> list[int]:
    """Return the widths of the hidden layers of an mlp."""
    parts = [part.strip() for part in settings.widths.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(f"widths is {settings.widths!r}; it must be integers with commas between: 200,200")
    return [int(part) for part in parts]


def as_coefficients(settings: Common) -> list[float] | None:
    """Return the coefficients of a polynomial, if there are any."""
    if settings.coefficients is None:
        return None
    try:
        return [float(part) for part in settings.coefficients.split(",")]
    except ValueError:
        raise ValueError(
            f"coefficients is {settings.coefficients!r}; it must be numbers with commas between: 0,1,0.5"
        ) from None


def to_toml(settings: Common, comment: str) -> bytes:
    """Return ``settings`` as a file that repeats the run into the directory that the file is in."""
    values = {k: v for k, v in dataclasses.asdict(settings).items() if v is not None and k not in PATHS}
    values = {"data": str(Path(settings.data or "").resolve()), "out": ".", **values}
    return f"# {comment}\n{tomli_w.dumps(values)}".encode()


def _checked(path: Path, key: str, value: Any, kind: Any) -> Any:
    """Return a value from a file as what it must be; an integer is a number as well."""
    listed = get_origin(kind) is list
    item = get_args(kind)[0] if listed else kind
    items = value if listed and not isinstance(value, str) else [value]
    if isinstance(items, list):
        items = [float(x) if item is float and is_small_integer(x) else x for x in items]
        if all(type(x) is item for x in items):
            return items if listed else items[0]
    one, several = NAMES[item]
    expected = f"a list of {several}" if listed else one
    raise FileError(f"{path}: {key} is {value!r}; it must be {expected}")


def is_small_integer(x: object) -> bool:
    """Whether `x` is an integer that is a float as well."""
    return type(x) is int and abs(x) <= sys.float_info.max


def _check(settings: Common) -> None:
    """Check what no later step does."""
    if settings.data is None:
        raise ValueError("no data: give a table with --data FILE.csv, or a settings file that names one")
    if settings.model not in MODELS and not settings.model.startswith("torch:"):
        raise ValueError(unknown("model", settings.model, (*MODELS, "torch:FILE.py:FUNCTION")))
    if settings.init not in INITS:
        raise ValueError(unknown("init", settings.init, INITS))
    if settings.loss not in LOSSES:
        raise ValueError(unknown("loss", settings.loss, LOSSES))
    if settings.label_smoothing and settings.loss != "cross_entropy":
        raise ValueError(f"label_smoothing is of loss = 'cross_entropy', and loss is {settings.loss!r}")
    as_widths(settings)
    as_seconds("checkpoint_every", settings.checkpoint_every)
    if not 0.0 <= settings.test_fraction < 1.0:
        raise ValueError(f"test_fraction is {settings.test_fraction}; it must be at least 0 and below 1")
    for name in ("seed", "split_seed"):
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must not be negative")
    if as_count("depth", settings.depth) < 2:
        raise ValueError(f"depth is {settings.depth}; it must be at least 2")
    if settings.width is not None:
        as_count("width", settings.width)
    if not isinstance(settings, Settings):
        return  # two_phase checks its own
    if not 0.0 <= settings.weight_decay < math.inf:
        raise ValueError(f"weight_decay is {settings.weight_decay}; it must be finite and not negative")
    if settings.t_end is None and settings.weight_decay == 0.0:
        raise ValueError("weight_decay is 0; give t_end as well (its default is 10/weight_decay)")
