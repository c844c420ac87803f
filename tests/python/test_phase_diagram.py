"""Maps of sweeps: which phase a run is in, and what is drawn."""

import grokflow as gf
import matplotlib as mpl
import numpy as np
import pytest
from grokflow.sweeps.figure import PHASES, learning_times, phase_diagram

xarray = pytest.importorskip("xarray")
mpl.use("Agg")
NAMES = list(PHASES)
T = np.logspace(-1, 4, 101)


def falls(when):
    """Return a loss over `T` that falls from 1 to 1e-3 around a time; never, for nan."""
    return np.where(when >= T, 1.0, 1e-3) if np.isfinite(when) else np.ones_like(T)


def data(train, test, extra=None):
    """Return a sweep over decay (rows) and std (columns) with losses that fall at these times."""
    train, test = np.asarray(train, float), np.asarray(test, float)
    curves = {
        name: (("decay", "std", "time"), np.array([[falls(t) for t in row] for row in times]))
        for name, times in (("train_loss", train), ("test_loss", test))
    }
    status = (("decay", "std"), np.full(train.shape, "finished"))
    rows, columns = train.shape
    axes = {"decay": 10.0 ** -np.arange(rows)[::-1], "std": np.arange(columns) + 1.0, "time": T}
    return xarray.Dataset({**curves, "status": status} | (extra or {}), coords=axes)


FOUR = data([[1, 1], [1, np.nan]], [[2, 500], [np.nan, np.nan]])


def drawn(figure):
    """Return the values of the map, shape (y, x)."""
    mesh = figure.axes[0].collections[0]
    return np.ma.filled(mesh.get_array().astype(float), np.nan)


def test_the_times_at_which_losses_have_fallen():
    train, test = learning_times(FOUR)
    np.testing.assert_allclose(train, [[1, 1], [1, np.nan]], rtol=0.2)
    np.testing.assert_allclose(test, [[2, 500], [np.nan, np.nan]], rtol=0.2)


def test_the_four_phases():
    figure = phase_diagram(FOUR, x="std", y="decay")
    phases = [[NAMES[int(kind)] for kind in row] for row in drawn(figure)]
    assert phases == [["comprehension", "grokking"], ["memorisation", "confusion"]]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == NAMES
    turned = phase_diagram(FOUR, x="decay", y="std")
    np.testing.assert_array_equal(drawn(turned), drawn(figure).T)


def test_late_is_what_makes_it_grokking():
    assert drawn(phase_diagram(FOUR, x="std", y="decay", late=1e3))[0, 1] == NAMES.index("comprehension")


def test_the_delay_and_numbers_of_ones_own():
    delay = drawn(phase_diagram(FOUR, x="std", y="decay", value="delay"))
    np.testing.assert_allclose(delay[0], [1, 499], rtol=0.2)
    assert np.isnan(delay[1]).all()
    own = data(np.ones((2, 2)), np.ones((2, 2)), {"size": (("decay", "std"), [[1.0, 2.0], [3.0, 4.0]])})
    np.testing.assert_array_equal(drawn(phase_diagram(own, x="std", y="decay", value="size")), own["size"])
    last = drawn(phase_diagram(FOUR, x="std", y="decay", value="test_loss"))
    np.testing.assert_array_equal(last, [[1e-3, 1e-3], [1, 1]])


def test_over_seeds_the_most_frequent_phase_and_the_median_are_drawn():
    other = data([[1, 1], [1, 1]], [[2, 2], [2, 2]])
    ds = xarray.concat([FOUR, other, FOUR], dim="seed")
    ds["size"] = (("seed", "decay", "std"), np.arange(12.0).reshape(3, 2, 2))
    figure = phase_diagram(ds.transpose("decay", "std", "seed", "time"), x="std", y="decay")
    np.testing.assert_array_equal(drawn(figure), drawn(phase_diagram(FOUR, x="std", y="decay")))
    size = drawn(phase_diagram(ds, x="std", y="decay", value="size"))
    np.testing.assert_array_equal(size, [[4, 5], [6, 7]])


def test_axes_that_span_decades_are_logarithmic():
    wide = data(np.ones((3, 2)), np.ones((3, 2)))
    ax = phase_diagram(wide, x="std", y="decay").axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")


def test_values_in_any_order():
    figure = phase_diagram(FOUR.isel(decay=[1, 0], std=[1, 0]), x="std", y="decay")
    np.testing.assert_array_equal(drawn(figure), drawn(phase_diagram(FOUR, x="std", y="decay")))


def test_axes_of_ones_own():
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    assert gf.phase_diagram(FOUR, x="std", y="decay", ax=ax) is figure
    pyplot.close(figure)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": "nothing"}, "'nothing' is no swept number"),
        ({"x": "time"}, "'time' is no swept number"),
        ({"x": "decay"}, "both 'decay'"),
        ({"value": "speed"}, "value is 'speed'"),
        ({"value": "status"}, "value is 'status'"),
    ],
)
def test_misuse_is_told(changes, words):
    with pytest.raises(ValueError, match=words):
        phase_diagram(**{"ds": FOUR, "x": "std", "y": "decay"} | changes)
    for ds, error, said in (
        (None, TypeError, "ds is None; it must be a data set"),
        ([1], TypeError, "ds is \\[1\\]; it must be a data set"),
        (FOUR.drop_vars("status"), ValueError, "ds has no status"),
    ):
        with pytest.raises(error, match=said):
            phase_diagram(ds, x="std", y="decay")
    with pytest.raises(ValueError, match="has no test_loss"):
        phase_diagram(FOUR.drop_vars("test_loss"), x="std", y="decay")
