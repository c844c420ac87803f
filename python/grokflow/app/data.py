"""Tables from files: a ``.csv`` with a header, or an ``.npz`` with arrays X and y; split, standardised."""

from __future__ import annotations

import csv
import dataclasses
import math
import reprlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow.files import FileError
from grokflow.memory import MemoryLimitError, require_memory

Array = NDArray[np.float64]
CLASSIFYING = ("cross_entropy", "logistic")  # losses whose targets are classes
MOST_CLASSES = 100
TRUTH = {"false": "0", "true": "1"}  # as pandas and R write columns of bools


@dataclass(frozen=True)
class Table:
    """Inputs ``X`` (n, p), with the names of their columns, and targets ``y`` (n,) or (n, outputs).

    Classes are one-hot rows of `y`, in the order of their names; two of them for one output are 0 and 1.
    """

    X: Array
    y: Array
    features: tuple[str, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """A table cut in two, with what is needed to repeat the cut and the standardisation on other data.

    ``X = (table.X[rows] - X_mean) / X_std``, and likewise for ``y`` and the test part. Means and standard
    deviations are those of the training rows; without standardisation they are 0 and 1.
    """

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    rows: NDArray[np.intp]
    test_rows: NDArray[np.intp]
    X_mean: Array
    X_std: Array
    y_mean: Array
    y_std: Array
    classes: NDArray[np.str_]


def read(
    path: Path,
    target: Sequence[str],
    ignore: Sequence[str] = (),
    loss: str = "squares",
    entries: bool = False,
) -> Table:
    """Read a ``.csv`` (``target``: the columns to predict, ``ignore``: those to leave out) or an ``.npz``.

    With `loss` "cross_entropy" or "logistic" a single column of targets holds classes: texts or numbers. A
    table of the `entries` of a matrix has its values in the last column, unless a target is named.

    Raises
    ------
    FileError
        The file is no such table; the message says where (row and column) and why.
    OSError
        The file cannot be read.
    """
    classified = loss in CLASSIFYING
    if path.suffix == ".npz":
        table, labels = _read_npz(path, classified)
    elif path.suffix == ".csv":
        table, labels = _read_csv(path, target, ignore, classified, entries)
    else:
        raise FileError(f"{path} is neither .csv nor .npz; save the table as one of these")
    return _with_classes(path, table, labels, loss) if classified else table


def split(table: Table, test_fraction: float, seed: int, standardise: bool, indices: bool = False) -> Split:
    """Draw round(test_fraction * n) rows for the test, and standardise both parts by the rest.

    Classes stay as they are, and so do inputs that are `indices`.
    """
    n = len(table.y)
    num_test = round(test_fraction * n)
    if num_test >= n:
        raise ValueError(f"test_fraction is {test_fraction}: of {n} rows none is left to train on")
    order = np.random.default_rng(seed).permutation(n)
    rows, test_rows = np.sort(order[num_test:]), np.sort(order[:num_test])
    plain = bool(table.classes) or not standardise
    X, X_mean, X_std = _as_they_are(table.X) if indices or not standardise else _standardised(table.X, rows)
    y, y_mean, y_std = _as_they_are(table.y) if plain else _standardised(table.y, rows)
    return Split(
        X=X[rows],
        y=y[rows],
        X_test=X[test_rows],
        y_test=y[test_rows],
        rows=rows,
        test_rows=test_rows,
        X_mean=X_mean,
        X_std=X_std,
        y_mean=y_mean,
        y_std=y_std,
        classes=np.array(table.classes, dtype=np.str_),
    )


def _standardised(columns: Array, rows: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Shift and scale columns by mean and deviation of some rows, which are returned as well.

    They are found in units of a power of two, which changes no bit but keeps squares from overflowing and
    vanishing. A column that is constant becomes 0 there.
    """
    part = columns[rows]
    constant = part.max(axis=0) == part.min(axis=0)
    unit = np.where(constant, 1.0, np.exp2(np.frexp(np.abs(part).max(axis=0))[1] - 1.0))
    scaled = part / unit
    with np.errstate(over="ignore"):  # of constant columns, whose sums are not asked for
        mean = np.where(constant, part[0], scaled.mean(axis=0))
        std = np.where(constant, 1.0, scaled.std(axis=0))
    return (columns / unit - mean) / std, mean * unit, std * unit


def _as_they_are(columns: Array) -> tuple[Array, Array, Array]:
    return columns, np.zeros(columns.shape[1:]), np.ones(columns.shape[1:])


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says that ``name`` is unknown, which names exist and which one is nearest."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {listed(names)})"


def listed(names: Iterable[str]) -> str:
    """Return names in one line, quoted where they would break it."""
    return ", ".join(name if name.isprintable() else repr(name) for name in names)


def _read_csv(
    path: Path, target: Sequence[str], ignore: Sequence[str], classified: bool, entries: bool
) -> tuple[Table, list[str]]:
    """Return the table, and the texts of its target, which need be no numbers if they are classes.

    Of several targets the texts are their names.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise FileError(f"{path}, row {reader.line_num}: {error}") from None
    if not rows:
        raise FileError(f"{path} is empty; the first row must hold the names of the columns")
    header = [name.strip() for name in rows[0][1]]
    target = target or (header[-1:] if entries else [])
    if not target:
        raise FileError(f"{path} needs a target: name the column to predict with --target COLUMN")
    _check_header(path, header, [*target, *ignore])
    if len(rows) == 1:
        raise FileError(f"{path} has a header, but no rows of numbers below it")
    keep = [j for j, name in enumerate(header) if name and name not in ignore]
    values = np.empty((len(rows) - 1, len(keep)))
    labels: list[str] = []
    classes = header.index(target[0]) if classified and len(target) == 1 else None
    for i, (line, cells) in enumerate(rows[1:]):
        if len(cells) != len(header):
            raise FileError(
                f"{path}, row {line}: {len(cells)} cells, but the header has {len(header)} columns"
            )
        for k, j in enumerate(keep):
            place = f"{path}, row {line}, column {header[j]!r}"
            if j == classes:
                labels.append(_label(cells[j], place))
                values[i, k] = 0.0
            else:
                values[i, k] = _number(cells[j], place)
    names = [header[j] for j in keep]
    at = [names.index(name) for name in target]
    features = tuple(name for name in names if name not in target)
    if not features:
        raise FileError(f"{path} has no column left beside the target {', '.join(map(repr, target))}")
    y = values[:, at[0]].copy() if len(at) == 1 else values[:, at]
    return Table(np.delete(values, at, axis=1), y, features), labels if len(at) == 1 else list(target)


def _check_header(path: Path, header: list[str], wanted: list[str]) -> None:
    if any("\0" in name for name in header):
        raise FileError(f"{path} is no text, or text in UTF-16; save it as CSV in UTF-8")
    for sign, called in ((";", "';'"), ("\t", "tabs")):
        if len(header) == 1 and sign in header[0]:
            raise FileError(
                f"{path}: the columns are separated by {called}; save the table with ',' between the "
                "columns, and '.' in the numbers"
            )
    for j, name in enumerate(header):
        if not name and j > 0:  # the first may be an index, as pandas writes it, which is left out
            raise FileError(f"{path}, row 1: column {j + 1} has no name")
        if name in header[:j]:
            raise FileError(f"{path}, row 1: the name {name!r} stands above two columns")
    if all(_is_number(name) for name in header if name):
        raise FileError(f"{path}, row 1: numbers, where the names of the columns must stand; add a header")
    for i, name in enumerate(wanted):
        if name in wanted[:i]:
            raise FileError(f"{path}: column {name!r} is named twice, as a target or as one to leave out")
        if name not in header:
            raise FileError(f"{path}: {unknown('column', name, filter(None, header))}")


def _with_classes(path: Path, table: Table, labels: Sequence[str], loss: str) -> Table:
    """Return the table with its labels as classes: in the order of numbers, or else of texts."""
    if table.y.ndim == 2:  # codes or probabilities, one column for each
        names = list(labels) or [f"y{j}" for j in range(table.y.shape[1])]
        return dataclasses.replace(table, classes=tuple(names))
    numbers = all(map(_is_number, labels))
    names = sorted(set(labels), key=float if numbers else str)
    learned = "numbers are learned by 'squares' or 'huber'"
    if numbers and 2 * len(names) > len(labels) and not all(float(name).is_integer() for name in names):
        raise FileError(
            f"{path}: the target has {len(names)} values in {len(labels)} rows, not all of them whole: "
            f"measurements are no classes; {learned}"
        )
    most = 2 if loss == "logistic" else MOST_CLASSES
    if len(names) < 2:
        raise FileError(f"{path}: the target has one class only, {names[0]!r}")
    if len(names) > most:
        other = "take cross_entropy" if most == 2 else learned
        raise FileError(f"{path}: the target has {len(names)} classes; loss {loss!r} takes {most}: {other}")
    index = {name: i for i, name in enumerate(names)}
    found = np.array([index[label] for label in labels])
    y = found.astype(np.float64) if loss == "logistic" else np.eye(len(names))[found]
    return Table(table.X, y, table.features, tuple(names))


def _label(cell: str, place: str) -> str:
    text = cell.strip()
    if not text:
        raise FileError(f"{place}: the cell is empty; fill it, or drop the row")
    return text


def _number(cell: str, place: str) -> float:
    text = cell.strip()
    if not text:
        raise FileError(f"{place}: the cell is empty; fill it, or drop the row, or ignore the column")
    text = TRUTH.get(text.lower(), text)
    if not _is_number(text):
        raise FileError(
            f"{place}: {reprlib.repr(text)} is not a number; encode it as one, or ignore the column (classes "
            "to predict take --loss cross_entropy)"
        )
    value = float(text)
    if not math.isfinite(value):
        raise FileError(
            f"{place}: {reprlib.repr(text)} is not finite; fill it, or drop the row, or ignore the column"
        )
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python's own literals may have one


def _read_npz(path: Path, classified: bool) -> tuple[Table, list[str]]:
    """Return the table, and the targets as texts, for those that are classes."""
    arrays = _arrays(path, ("X", "y"))
    named = classified and arrays["y"].dtype.kind == "U"
    X, y = _real(path, "X", arrays["X"]), arrays["y"] if named else _real(path, "y", arrays["y"])
    if X.ndim != 2 or y.ndim not in (1, 2) or len(y) != len(X) or 0 in X.shape + y.shape:
        raise FileError(
            f"{path}: X has shape {X.shape} and y {y.shape}; they must be (n, p) and (n,) or (n, outputs), "
            "not empty"
        )
    for name, array in (("X", X), ("y", y))[: 1 if named else 2]:
        bad = np.argwhere(~np.isfinite(array))
        if bad.size:
            index = ", ".join(map(str, bad[0]))
            raise FileError(f"{path}: {name}[{index}] is {array[tuple(bad[0])]}; all entries must be finite")
    targets = y[:, 0] if y.shape[1:] == (1,) else y
    labels = [label if named else f"{label:.17g}" for label in targets.tolist()] if targets.ndim == 1 else []
    return Table(X, targets, tuple(f"x{j}" for j in range(X.shape[1]))), labels


def _real(path: Path, name: str, array: Any) -> Array:
    """Return an array as float64."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        dtype = getattr(array, "dtype", "none")
        raise FileError(f"{path}: {name} has dtype {dtype}; it must hold real numbers")
    return array.astype(np.float64)


def _arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays called `names` of an .npz."""
    with open(path, "rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise FileError(f"{path} is not an .npz archive, or its end is missing")
        stream.seek(0)
        try:
            archive = np.load(stream, allow_pickle=False)
            for name in names:
                if name not in archive.files:
                    raise FileError(f"{path} has no array {name!r}; it has {listed(archive.files) or 'none'}")
                size = archive.zip.getinfo(f"{name}.npy").file_size
                require_memory(f"{path}: the array {name} has {size} bytes", size // 8)
            return {name: archive[name] for name in names}
        except (FileError, MemoryLimitError):
            raise
        except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds for a damaged file
            raise FileError(f"{path} cannot be read as an .npz of plain arrays: {error or error!r}") from None
