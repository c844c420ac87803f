"""Tables: what is read, and what is refused with row and column."""

from contextlib import suppress

import grokflow as gf
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
    found = read(table("a,b,y\n1,2,3\n-4e1, 5.5 ,6\n"), ["y"])
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
    found = read(table(text, encoding=encoding), ["y"])
    assert found.features == ("a",)
    assert found.X.tolist() == [[1.0]]
    assert found.y.tolist() == [2.0]


def test_columns_can_be_left_out(table):
    found = read(table("id,a,y,note\nx1,1,2,\nx2,3,4,good\n"), ["y"], ["id", "note"])
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
        ("a;y\n1,5;2,0\n", r"separated by ';'; save the table with ','"),
        ("a\ty\n1\t2\n", r"separated by tabs"),
        ("a,Y\n1,2\n", r"unknown column 'y'.*\(known: a, Y\)"),
        ('"a\nb",Y\n1,2\n', r"unknown column 'y'.*\(known: 'a\\nb', Y\)$"),
        ("y\n1\n", r"no column left beside the target 'y'"),
        ("a,y\n", r"no rows of numbers"),
        ("\0a\0,\0y\0", r"is no text, or text in UTF-16; save it as CSV in UTF-8"),
        ("a,y\n" + "9" * 5000 + ",2\n", r"row 2, column 'a': '9{10,20}\.\.\.9{10,20}' is not finite"),
        ("", r"is empty"),
    ],
)
def test_bad_csv_is_refused_with_its_place(table, text, message):
    with pytest.raises(FileError, match=r"table\.csv.*" + message):
        read(table(text), ["y"])


def test_a_misspelt_column_gets_a_suggestion(table):
    path = table("weight,height,y\n1,2,3\n")
    with pytest.raises(FileError, match="unknown column 'heigth'; did you mean 'height'"):
        read(path, ["heigth"])
    with pytest.raises(FileError, match="unknown column 'heigth'; did you mean 'height'"):
        read(path, ["y"], ["heigth"])


def test_other_files_are_refused(table, tmp_path):
    with pytest.raises(FileError, match="not UTF-8"):
        read(table("a,y\n1,2\n", encoding="utf-16"), ["y"])
    with pytest.raises(FileError, match=r"neither \.csv nor \.npz"):
        read(table("a,y\n", "table.xlsx"), ["y"])
    with pytest.raises(FileError, match="--target"):
        read(table("a,y\n1,2\n"), [])
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.csv", ["y"])


def test_npz(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, X=np.arange(6, dtype=np.float32).reshape(3, 2), y=np.array([1, 2, 3]))
    found = read(path, [])
    assert found.X.dtype == found.y.dtype == np.float64
    assert found.features == ("x0", "x1")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 2))}, "no array 'y'; it has X"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, r"X has shape \(2, 2\) and y \(3,\)"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "not empty"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 0))}, "not empty"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 1, 1))}, r"y \(2, 1, 1\)"),
        ({"X": np.ones((2, 2)), "y": np.array(1.0)}, r"y \(\); they must be"),
        ({"X": np.ones(2), "y": np.ones(2)}, r"X has shape \(2,\)"),
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
        read(path, [])


def test_a_broken_npz_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, X=np.ones((2, 2)), y=np.ones(2))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-30])
    with pytest.raises(FileError, match="its end is missing"):
        read(path, [])
    data[150] ^= 1  # among the numbers of X
    path.write_bytes(data)
    with pytest.raises(FileError, match="cannot be read"):
        read(path, [])


def test_damage_anywhere_in_an_npz_is_told_or_harmless(tmp_path):
    """Any byte, cut or flipped: the same numbers, or one clear error."""
    path = tmp_path / "table.npz"
    X, y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
    np.savez_compressed(path, X=X, y=y)
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(len(whole))]
    for data in [*flipped, *(whole[:length] for length in range(0, len(whole), 7))]:
        path.write_bytes(data)
        with suppress(FileError):
            found = read(path, [])
            assert np.array_equal(found.X, X)
            assert np.array_equal(found.y, y)


def test_an_npz_larger_than_memory_is_refused(tmp_path):
    """A file of 1 MB that holds 1 GB of zeros."""
    path = tmp_path / "table.npz"
    np.savez_compressed(path, X=np.zeros((1000, 1000)), y=np.zeros(1000))
    before = gf.get_memory_limit()
    gf.set_memory_limit(1e6)
    try:
        with pytest.raises(MemoryError, match=r"table\.npz: the array X has 8000128 bytes"):
            read(path, [])
    finally:
        gf.set_memory_limit(None)
    assert gf.get_memory_limit() == before


def test_targets_of_an_npz_may_be_columns(tmp_path):
    path = tmp_path / "table.npz"
    X = np.arange(6.0).reshape(3, 2)
    np.savez(path, X=X, y=X[:, :1])
    assert np.array_equal(read(path, []).y, X[:, 0])
    np.savez(path, X=X, y=X)
    assert np.array_equal(read(path, []).y, X)
    parts = split(read(path, []), 0.0, 0, standardise=True)
    assert parts.y.shape == (3, 2)
    assert parts.y_mean.shape == (2,)


def test_an_unnamed_index_is_left_out(table):
    """As pandas writes it: the first column, whatever it holds."""
    found = read(table(",a,y\n2000-01-01,1,2\nrow two,3,4\n"), ["y"])
    assert found.features == ("a",)
    assert np.array_equal(found.X, [[1.0], [3.0]])


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


@pytest.mark.parametrize("power", [-1000, -565, -1, 1, 531, 1010])
def test_standardising_knows_no_scale(numbers, power):
    """In units of another power of two the columns come out the same, to the last bit."""
    scaled = Table(np.ldexp(numbers.X, power), np.ldexp(numbers.y, power), numbers.features)
    one, other = split(numbers, 0.2, 0, True), split(scaled, 0.2, 0, True)
    for name in ("X", "y", "X_test", "y_test"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_standardising_the_largest_numbers_and_constants():
    largest = np.finfo(float).max
    X = np.array(
        [[largest, 0.1, 1e160], [-largest, 0.1, -1e160], [largest, 0.1, 1e160], [-largest, 0.1, -1e160]]
    )
    parts = split(Table(X, X[:, 2], ("a", "b", "c")), 0.0, 0, True)
    assert np.array_equal(parts.X, [[1.0, 0.0, 1.0], [-1.0, 0.0, -1.0]] * 2)
    assert parts.X_std == pytest.approx([largest, 1.0, 1e160])
    assert np.array_equal(parts.y, [1.0, -1.0] * 2)
    constant = split(Table(np.full((9, 1), largest), np.arange(9.0), ("a",)), 0.0, 0, True)
    assert not constant.X.any()
    assert constant.X_mean == largest


def test_a_split_that_leaves_nothing_to_train_on(numbers):
    with pytest.raises(ValueError, match=r"test_fraction is 0.995: of 50 rows none is left"):
        split(numbers, 0.995, 0, True)


def test_several_targets(table):
    found = read(table("a,u,b,v\n1,2,3,4\n5,6,7,8\n"), ["v", "u"])
    assert found.features == ("a", "b")
    assert np.array_equal(found.X, [[1.0, 3.0], [5.0, 7.0]])
    assert np.array_equal(found.y, [[4.0, 2.0], [8.0, 6.0]])
    with pytest.raises(FileError, match="column 'u' is named twice"):
        read(table("a,u,b\n1,2,3\n"), ["u"], ["u"])


@pytest.mark.parametrize(
    ("labels", "names", "columns"),
    [
        (("cat", "dog", "cat", "ant"), ("ant", "cat", "dog"), (1, 2, 1, 0)),
        (("10", "9", "10", "-1"), ("-1", "9", "10"), (2, 1, 2, 0)),
    ],
)
def test_a_column_of_classes(table, labels, names, columns):
    """In the order of numbers, or else of texts; not standardised."""
    path = table("a,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    found = read(path, ["y"], loss="cross_entropy")
    assert found.classes == names
    assert np.array_equal(found.y, np.eye(3)[list(columns)])
    assert np.array_equal(split(found, 0.0, 0, standardise=True).y, found.y)
    with pytest.raises(FileError, match="3 classes; loss 'logistic' takes 2: take cross_entropy"):
        read(path, ["y"], loss="logistic")


def test_two_classes_of_one_output(table, tmp_path):
    found = read(table("a,y\n1,no\n2,yes\n3,no\n"), ["y"], loss="logistic")
    assert found.classes == ("no", "yes")
    assert found.y.tolist() == [0.0, 1.0, 0.0]
    np.savez(tmp_path / "t.npz", X=np.ones((3, 2)), y=np.array([7, 3, 7]))
    found = read(tmp_path / "t.npz", [], loss="cross_entropy")
    assert found.classes == ("3", "7")
    assert found.y.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]


def test_columns_of_codes_stay_as_they_are(table):
    found = read(table("a,p,q\n1,1,0\n2,0,1\n"), ["p", "q"], loss="cross_entropy")
    assert np.array_equal(split(found, 0.0, 0, standardise=True).y, np.eye(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,x\n2,x\n", "one class only, 'x'"),
        ("a,y\n1,\n2,x\n", "row 2, column 'y': the cell is empty"),
        ("a,y\n" + "".join(f"1,{i}\n" for i in range(200)), "200 classes.*learned by 'squares'"),
        ("a,y\n1,0.3\n2,1.7\n3,0.3\n4,-2.2\n", "3 values in 4 rows.*no classes.*learned by 'squares'"),
    ],
)
def test_bad_classes(table, text, message):
    with pytest.raises(FileError, match=message):
        read(table(text), ["y"], loss="cross_entropy")


def test_texts_to_predict_need_a_loss_of_classes(table):
    with pytest.raises(FileError, match=r"'x' is not a number.*--loss cross_entropy"):
        read(table("a,y\n1,x\n"), ["y"])
