"""Maps of a sweep over two of its arguments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow._validate import FloatArray, as_positive
from grokflow.curves import stays_below
from grokflow.figures.style import BLUE, GREEN, GREY, VERMILION, canvas

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASES = {"comprehension": GREEN, "grokking": BLUE, "memorisation": VERMILION, "confusion": "0.8"}
SIZE = (4.6, 3.6)
DECADES = 1.5  # numbers that span more go on a logarithmic scale


def learning_times(
    ds: xarray.Dataset, train: float = 0.1, test: float = 0.1
) -> tuple[FloatArray, FloatArray]:
    """Return when train and test loss have fallen, for good, below parts of what they were; nan: never."""
    found = []
    for name, part in (("train_loss", train), ("test_loss", test)):
        if name not in ds or "time" not in ds[name].dims:
            raise ValueError(
                f"the data set has no {name} over time; observe it, and give runs one grid of times"
            )
        curves = ds[name].transpose(..., "time")
        t, flat = ds["time"].values, curves.values.reshape(-1, ds.sizes["time"])
        times = [_learnt(t, curve, part) for curve in flat]
        found.append(np.array(times).reshape(curves.shape[:-1]))
    return found[0], found[1]


def _learnt(t: FloatArray, curve: FloatArray, part: float) -> float:
    known = np.isfinite(curve)
    if not known.any():
        return math.nan
    return stays_below(t[known], curve[known], part * float(curve[known][0]))


def phase_diagram(
    ds: xarray.Dataset,
    x: str,
    y: str,
    value: str = "phase",
    *,
    ax: Axes | None = None,
    train: float = 0.1,
    test: float = 0.1,
    late: float = 10.0,
) -> Figure:
    """Draw a quantity of a sweep over two of the arguments that were swept.

    Parameters
    ----------
    ds : xarray.Dataset
        Returned by `sweep`.
    x, y : str
        Swept arguments with numbers, for the two axes; an axis whose values span decades is logarithmic. Over
        other arguments (seeds) the median is drawn, or the most frequent phase.
    value : str, default "phase"
        "phase": *comprehension* where the test loss falls with the train loss, *grokking* where it falls at
        least `late` times later, *memorisation* where it does not fall, *confusion* where not even the train
        loss does. "delay": the time that passes between the two. Else a number that runs have returned, or
        the last one of a curve over time.
    ax : matplotlib Axes, optional
        Where to draw. By default a new figure.
    train, test : float, default 0.1
        The part of its first value below which a loss has to stay.
    late : float, default 10
        Ratio of the two times.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        `ds` is no data set of a sweep, or `x`, `y` or `value` is not in it.
    ImportError
        matplotlib is missing.

    References
    ----------
    Liu et al., Towards understanding grokking: an effective theory of representation learning, NeurIPS 2022.
    """
    if not hasattr(ds, "dims"):
        raise TypeError(f"ds is {ds!r}; it must be a data set that gf.sweep has returned")
    if "status" not in ds:
        raise ValueError("ds has no status; it must be a data set that gf.sweep has returned")
    swept = ds["status"].dims
    for name in (x, y):
        if name not in swept or ds[name].dtype.kind not in "iuf":
            raise ValueError(f"{name!r} is no swept number; the data set has {', '.join(map(str, swept))}")
    if x == y:
        raise ValueError(f"x and y are both {x!r}")
    as_positive("late", late)
    ds = ds.sortby([x, y])
    table = _table(ds, x, y, value, train, test, late)
    with canvas(SIZE, ax) as figure:
        ax = figure.add_subplot() if ax is None else ax
        if value == "phase":
            _draw_phases(ax, ds, x, y, table)
        else:
            _draw_numbers(ax, ds, x, y, table, value)
        for name, scale, label in ((x, ax.set_xscale, ax.set_xlabel), (y, ax.set_yscale, ax.set_ylabel)):
            scale("log" if _spans_decades(ds[name].values) else "linear")
            label(name.replace("_", " "))
    return figure


def _table(ds: Any, x: str, y: str, value: str, train: float, test: float, late: float) -> FloatArray:
    """Return what is drawn, shape (len(y), len(x)); phases by their number."""
    status = ds["status"]
    if value in ("phase", "delay"):
        fitted, general = learning_times(ds, train, test)
        if value == "delay":
            array = status.copy(data=general - fitted)
        else:
            kinds = [np.isnan(fitted), np.isnan(general), general >= late * fitted]
            array = status.copy(data=np.select(kinds, [3.0, 2.0, 1.0], 0.0)).where(status != "failed")
    elif value in ds and ds[value].dtype.kind in "iuf":
        array = ds[value].isel(time=-1) if "time" in ds[value].dims else ds[value]
        if set(array.dims) - set(status.dims):
            raise ValueError(f"{value!r} has the dimensions {ds[value].dims}; select one of its entries")
    else:
        raise ValueError(
            f"value is {value!r}; it must be 'phase', 'delay' or one of {', '.join(ds.data_vars)}"
        )
    stacked = array.transpose(y, x, ...).values.reshape(ds.sizes[y], ds.sizes[x], -1)
    if value == "phase":
        counts = np.stack([(stacked == kind).sum(axis=2) for kind in range(len(PHASES))])
        return np.where(counts.any(axis=0), counts.argmax(axis=0), np.nan)
    known = np.isfinite(stacked)
    return np.array(
        [
            [np.median(cell[k]) if k.any() else np.nan for cell, k in zip(*row, strict=True)]
            for row in zip(stacked, known, strict=True)
        ]
    )


def _draw_phases(ax: Axes, ds: Any, x: str, y: str, table: FloatArray) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours = ListedColormap(list(PHASES.values()))
    ax.pcolormesh(_edges(ds[x]), _edges(ds[y]), table, cmap=colours, vmin=-0.5, vmax=len(PHASES) - 0.5)
    handles = [Patch(facecolor=colour, label=name) for name, colour in PHASES.items()]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.02), ncols=2, borderpad=0)


def _draw_numbers(ax: Axes, ds: Any, x: str, y: str, table: FloatArray, value: str) -> None:
    from matplotlib.colors import LogNorm

    known = table[np.isfinite(table)]
    scale = LogNorm() if known.size and _spans_decades(known) else None
    mesh = ax.pcolormesh(_edges(ds[x]), _edges(ds[y]), table, norm=scale)
    ax.set_facecolor(GREY)  # where nothing is known
    ax.figure.colorbar(mesh, ax=ax, label=value.replace("_", " "))


def _spans_decades(values: FloatArray) -> bool:
    return bool(values.min() > 0 and math.log10(values.max() / values.min()) > DECADES)


def _edges(axis: Any) -> FloatArray:
    """Return the borders of cells around the values of an axis, which must be sorted."""
    values = np.asarray(axis.values, dtype=np.float64)
    if _spans_decades(values):
        borders: FloatArray = np.exp(_borders(np.log(values)))
        return borders
    return _borders(values)


def _borders(values: FloatArray) -> FloatArray:
    if len(values) == 1:
        return np.array([values[0] - 0.5, values[0] + 0.5])
    middle = 0.5 * (values[1:] + values[:-1])
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
