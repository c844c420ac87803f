"""Tables: what is read, and what is refused with row and column."""

import numpy as np
import pytest

pytest.importorskip("typer")
from grokflow.app.data import Table, read, split
from grokflow.files import FileError


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding, newline="")
        return path

    return write


def test_csv(table):
    found = read(table("a,b,y\n1,2,3\n-4e1, 5.5 ,6\n"), "y")
    assert found.features == ("a", "b")
    assert np.array_equal(found.X, [[1.0, 2.0], [-40.0, 5.5]])
    assert np.array_equal(found.y, [3.0, 6.0])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("a,y\r\n1,2\r\n", "utf-8"),
        ('"a","y"\n"1","2"\n', "utf-8"),
        ("a,y\n1,2\n\n", "utf-8"),
        ("a,y\n1,2\n", "utf-8-sig"),
    ],
    ids=["crlf", "quotes", "blank line", "byte order mark"],
)
def test_csv_as_spreadsheets_write_it(table, text, encoding):
    found = read(table(text, encoding=encoding), "y")
    assert found.features == ("a",)
    assert found.X.tolist() == [[1.0]]
    assert found.y.tolist() == [2.0]


def test_columns_can_be_left_out(table):
    found = read(table("id,a,y,note\nx1,1,2,\nx2,3,4,good\n"), "y", ["id", "note"])
    assert found.features == ("a",)
    assert found.X.tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,y\n1,2,3\n4,,6\n", r"row 3, column 'b': the cell is empty"),
        ("a,b,y\n1,2,3\n4,red,6\n", r"row 3, column 'b': 'red' is not a number"),
        ("a,b,y\n\n1,2,3\n4,red,6\n", r"row 4, column 'b'"),
        ("a,b,y\n1,1_000,3\n", r"row 2, column 'b': '1_000' is not a number"),
        ("a,b,y\n1,2,nan\n", r"row 2, column 'y': 'nan' is not finite"),
        ("a,b,y\n1,-inf,3\n", r"row 2, column 'b': '-inf' is not finite"),
        ("a,b,y\n1,1e999,3\n", r"row 2, column 'b': '1e999' is not finite"),
        ("a,b,y\n1,2\n", r"row 2: 2 cells, but the header has 3 columns"),
        ("a,b,y\n1,2,3,4\n", r"row 2: 4 cells"),
        ('a,b,y\n1,"2,3\n', r"row 2: unexpected end"),
        ("a,a,y\n1,2,3\n", r"row 1: the name 'a' stands above two columns"),
        ("a,,y\n1,2,3\n", r"row 1: column 2 has no name"),
        ("1,2,3\n4,5,6\n", r"row 1: numbers, where the names"),
        ("a;y\n1;2\n", r"unknown column 'y' \(known: a;y\)"),
        ("a,Y\n1,2\n", r"unknown column 'y'.*\(known: a, Y\)"),
        ("y\n1\n", r"no column left beside the target 'y'"),
        ("a,y\n", r"no rows of numbers"),
        ("", r"is empty"),
    ],
)
def test_bad_csv_is_refused_with_its_place(table, text, message):
    with pytest.raises(FileError, match=r"table\.csv.*" + message):
        read(table(text), "y")


def test_a_misspelt_column_gets_a_suggestion(table):
    path = table("weight,height,y\n1,2,3\n")
    with pytest.raises(FileError, match="unknown column 'heigth'; did you mean 'height'"):
        read(path, "heigth")
    with pytest.raises(FileError, match="unknown column 'heigth'; did you mean 'height'"):
        read(path, "y", ["heigth"])


def test_other_files_are_refused(table, tmp_path):
    with pytest.raises(FileError, match="not UTF-8"):
        read(table("a,y\n1,2\n", encoding="utf-16"), "y")
    with pytest.raises(FileError, match=r"neither \.csv nor \.npz"):
        read(table("a,y\n", "table.xlsx"), "y")
    with pytest.raises(FileError, match="--target"):
        read(table("a,y\n1,2\n"), None)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.csv", "y")


def test_npz(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, X=np.arange(6, dtype=np.float32).reshape(3, 2), y=np.array([1, 2, 3]))
    found = read(path, None)
    assert found.X.dtype == found.y.dtype == np.float64
    assert found.features == ("x0", "x1")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 2))}, "no array 'y'; it has X"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, r"X has shape \(2, 2\) and y \(3,\)"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "not empty"),
        ({"X": np.ones((2, 2)), "y": np.array([1.0, np.nan])}, r"y\[1\] is nan"),
        ({"X": np.array([[1.0, 2.0], [np.inf, 0.0]]), "y": np.ones(2)}, r"X\[1, 0\] is inf"),
        ({"X": np.ones((2, 2), dtype=complex), "y": np.ones(2)}, "dtype complex"),
        ({"X": np.array([["a"]]), "y": np.ones(1)}, "dtype <U1"),
        ({"X": np.array([[{}]]), "y": np.ones(1)}, "cannot be read"),
    ],
)
def test_bad_npz_is_refused(tmp_path, arrays, message):
    path = tmp_path / "table.npz"
    np.savez(path, **arrays)
    with pytest.raises(FileError, match=r"table\.npz.*" + message):
        read(path, None)


def test_a_broken_npz_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, X=np.ones((2, 2)), y=np.ones(2))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-30])
    with pytest.raises(FileError, match="its end is missing"):
        read(path, None)
    data[150] ^= 1  # among the numbers of X
    path.write_bytes(data)
    with pytest.raises(FileError, match="cannot be read"):
        read(path, None)


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3)) * [1.0, 10.0, 0.0] + [5.0, -2.0, 7.0]
    return Table(X, X @ [1.0, 0.1, 0.0] + 3.0, ("a", "b", "c"))


def test_split_is_a_partition_fixed_by_its_seed(numbers):
    parts = split(numbers, 0.2, 0, standardise=False)
    assert sorted([*parts.rows, *parts.test_rows]) == list(range(50))
    assert len(parts.test_rows) == 10
    assert np.array_equal(parts.X, numbers.X[parts.rows])
    assert np.array_equal(parts.y_test, numbers.y[parts.test_rows])
    assert np.array_equal(split(numbers, 0.2, 0, False).rows, parts.rows)
    assert not np.array_equal(split(numbers, 0.2, 1, False).rows, parts.rows)
    assert split(numbers, 0.0, 0, False).X_test.shape == (0, 3)


def test_standardising_knows_the_training_rows_only(numbers):
    parts = split(numbers, 0.2, 0, standardise=True)
    assert parts.X.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-14)
    assert parts.X[:, :2].std(axis=0) == pytest.approx(np.ones(2))
    assert np.all(parts.X[:, 2] == 0.0)
    assert parts.y.mean() == pytest.approx(0.0, abs=1e-14)
    assert parts.y.std() == pytest.approx(1.0)
    numbers.X[parts.test_rows] *= 100.0
    numbers.y[parts.test_rows] *= 100.0
    again = split(numbers, 0.2, 0, standardise=True)
    assert np.array_equal(again.X, parts.X)
    assert np.array_equal(again.y, parts.y)
    assert np.allclose(again.X_test * again.X_std + again.X_mean, numbers.X[again.test_rows])
    assert np.allclose(again.y_test * again.y_std + again.y_mean, numbers.y[again.test_rows])


def test_a_split_that_leaves_nothing_to_train_on(numbers):
    with pytest.raises(ValueError, match=r"test_fraction is 0.995: of 50 rows none is left"):
        split(numbers, 0.995, 0, True)
