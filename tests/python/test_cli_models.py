"""The command line on tables of classes, of several targets and of entries of a matrix, and on a module."""

import numpy as np
import pytest

pytest.importorskip("typer")
from command_line import grokflow, refused
from grokflow.solution import Solution

SHORT = ["--t-end", 10, "--weight-decay", "1e-2", "--rtol", "1e-4", "--test-fraction", 0.25]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 3))


def write(path, columns):
    """Write named columns as pandas does, with an index that has no name."""
    lines = ["," + ",".join(columns)]
    lines += [",".join(map(str, [i, *row])) for i, row in enumerate(zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def inputs():
    return {name: X[:, j] for j, name in enumerate("abc")}


def run(tmp_path, data, *options):
    out = tmp_path / "out"
    result = grokflow("run", "--data", data, *SHORT, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return Solution.load(out / "trajectory.npz"), np.load(out / "data.npz"), result


def test_several_targets(tmp_path):
    data = write(tmp_path / "t.csv", inputs() | {"u": X[:, 0] ** 2, "v": X[:, 1]})
    options = ["--model", "mlp", "--widths", "5", "--target", "v", "--target", "u"]
    sol, parts, _ = run(tmp_path, data, *options)
    assert sol.final.size == (3 + 1) * 5 + (5 + 1) * 2
    assert parts["y"].shape == (18, 2)
    again = grokflow("run", tmp_path / "out" / "settings.toml")
    assert again.exit_code == 0, again.output
    assert Solution.load(tmp_path / "out" / "trajectory.npz").final.tolist() == sol.final.tolist()


def test_entries_of_a_matrix(tmp_path):
    rows, cols = np.divmod(RNG.permutation(30)[:24], 6)
    values = np.outer(np.arange(5), np.arange(6))[rows, cols]
    data = write(tmp_path / "t.csv", {"row": rows, "column": cols, "value": values})
    sol, parts, _ = run(tmp_path, data, "--model", "matrix", "--width", 3)
    assert sol.final.size == (5 + 6) * 3
    assert set(parts["X"].ravel()) <= set(range(6))
    assert "test_loss" in sol.observed


def test_a_matrix_of_several_factors(tmp_path):
    rows, cols = np.divmod(np.arange(30), 6)
    values = np.outer(np.arange(5), np.arange(6))[rows, cols]
    data = write(tmp_path / "t.csv", {"row": rows, "column": cols, "value": values})
    options = ["--model", "deep-matrix", "--target", "value", "--widths", "2,3"]
    sol, _, _ = run(tmp_path, data, *options)
    assert sol.final.size == 6 * 2 + 2 * 3 + 3 * 5


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--model", "deep-diagonal", "--depth", 4], 6),
        (["--model", "deep-linear", "--widths", "4,5"], 3 * 4 + 4 * 5 + 5),
        (["--model", "random-features", "--width", 7, "--activation", "relu"], 7),
    ],
)
def test_models_of_theory(tmp_path, options, size):
    """Also with initial weights by name."""
    data = write(tmp_path / "t.csv", inputs() | {"y": X[:, 0] - X[:, 1]})
    sol, _, _ = run(tmp_path, data, "--target", "y", *options, "--init", "balanced", "--init-scale", 0.5)
    assert sol.final.size == size
    told = sol.settings["initial_weights"]
    assert (told["init"], told["scale"]) == ("balanced", 0.5)


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"r": [0, 1], "c": [0, 1], "d": [1, 2]}, [], ["two columns, row and column"]),
        ({"r": [0, 1.5], "c": [0, 1]}, [], ["counted 0, 1, ...", "1.5"]),
        ({"r": [0, -1], "c": [0, 1]}, [], ["counted 0, 1, ..."]),
        ({"r": [0, 1], "c": [0, 1]}, ["--loss", "huber"], ["loss is 'huber'"]),
    ],
)
def test_no_entries_of_a_matrix(tmp_path, columns, options, words):
    data = write(tmp_path / "t.csv", {name: values * 12 for name, values in columns.items()} | {"y": X[:, 0]})
    command = ["run", "--data", data, "--model", "matrix", "--target", "y", "--out", tmp_path / "out"]
    refused(grokflow(*command, *options), *words)


def test_a_class_column(tmp_path):
    names = np.array(["cat", "dog", "ant"])[X.argmax(axis=1)]
    data = write(tmp_path / "t.csv", inputs() | {"kind": names})
    options = ["--model", "mlp", "--widths", "5", "--target", "kind", "--loss", "cross_entropy"]
    sol, parts, result = run(tmp_path, data, *options)
    assert parts["classes"].tolist() == ["ant", "cat", "dog"]
    assert {"train_accuracy", "test_accuracy", "margin"} <= set(sol.observed)
    assert "test acc" in result.stdout


def test_names_of_classes_in_an_archive_and_bools_as_codes(tmp_path):
    names = np.array(["cat", "dog", "ant"])[X.argmax(axis=1)]
    np.savez(tmp_path / "t.npz", X=X, y=names)
    options = ["--model", "mlp", "--widths", "5", "--loss", "cross_entropy"]
    named, parts, _ = run(tmp_path, tmp_path / "t.npz", *options)
    assert parts["classes"].tolist() == ["ant", "cat", "dog"]
    codes = {name: np.where(names == name, "True", "False") for name in ("ant", "cat", "dog")}
    data = write(tmp_path / "t.csv", inputs() | codes)
    coded, _, _ = run(tmp_path, data, *options, *[f"--target={name}" for name in codes])
    assert np.array_equal(coded.final, named.final)
    refused(
        grokflow("run", "--data", tmp_path / "t.npz", "--out", tmp_path / "out"), "must hold real numbers"
    )


def test_a_module_of_ones_own(tmp_path):
    pytest.importorskip("torch")
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def make_model(inputs, outputs):\n"
        "    return torch.nn.Sequential(\n"
        "        torch.nn.Linear(inputs, 4), torch.nn.Tanh(), torch.nn.Linear(4, outputs))\n"
    )
    data = write(tmp_path / "t.csv", inputs() | {"y": X[:, 0]})
    sol, _, result = run(tmp_path, data, "--model", f"torch:{file}:make_model", "--target", "y")
    assert sol.final.size == 4 * 4 + 5
    assert "\nmake_model  t_GF" in result.output  # however long the way to the file is
    command = ["run", "--data", data, "--target", "y", "--out", tmp_path / "out"]
    file.write_text(file.read_text() + "model = make_model(1, 1)\ndef number():\n    return 3\n")
    refused(grokflow(*command, "--model", f"torch:{file}:other"), "has no function 'other'")
    refused(grokflow(*command, "--model", f"torch:{file}:model"), "a module itself; name what makes it")
    refused(grokflow(*command, "--model", f"torch:{file}:number"), "returned a int")
    refused(grokflow(*command, "--model", "torch:nothing.py:other"), "nothing.py")
    with open(file, "a") as stream:
        stream.write(
            "def boom():\n    raise RuntimeError('no')\ndef narrow():\n    return torch.nn.Linear(1, 1)\n"
        )
    refused(grokflow(*command, "--model", f"torch:{file}:boom"), "mine.py, line 9: RuntimeError: no")
    refused(grokflow(*command, "--model", f"torch:{file}:narrow"), "narrow: RuntimeError: mat1 and mat2")
    file.write_text("def (\n")
    refused(grokflow(*command, "--model", f"torch:{file}:boom"), "mine.py, line 1: SyntaxError")
    refused(grokflow(*command, "--model", "torch:mine"), "torch:FILE.py:FUNCTION")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--loss", "huberr"], ["unknown loss 'huberr'; did you mean 'huber'"]),
        (["--label-smoothing", 0.1], ["label_smoothing is of loss = 'cross_entropy'"]),
        (["--loss", "cross_entropy", "--label-smoothing", 1.5], ["label_smoothing is 1.5"]),
        (["--model", "torch"], ["unknown model 'torch'"]),
        (["--target", "y"], ["column 'y' is named twice"]),
    ],
)
def test_bad_values(tmp_path, options, words):
    data = write(tmp_path / "t.csv", inputs() | {"y": np.sign(X[:, 0]).astype(int)})
    command = ["run", "--data", data, "--target", "y", "--out", tmp_path / "out"]
    refused(grokflow(*command, *options), *words)
