"""The command line at small size: what it writes, how a run repeats, and what every bad input gets."""

import os
import signal
import subprocess
import sys

import grokflow as gf
import numpy as np
import pytest

pytest.importorskip("typer")
from command_line import command, grokflow, interrupted, refused
from grokflow.app.experiments import EXPERIMENTS
from grokflow.solution import Solution

SMALL = ["--model", "linear", "--target", "y"]


# reproduce


def test_reproduce_writes_a_figure_and_a_trajectory_of_each_experiment(tmp_path):
    result = grokflow("reproduce", "--small", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[:-1])
    for name in EXPERIMENTS:
        assert name in result.stdout
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        trajectories = list(tmp_path.glob(f"{name}*.npz"))
        assert len(trajectories) == (5 if name == "limit" else 1)
        assert all(Solution.load(path).success for path in trajectories)
    for word in ("t_GF", "landing", "end", "train loss", "test loss", "evals", "seconds"):
        assert word in result.stdout


def test_reproduce_takes_names_seed_and_weight_decay(tmp_path):
    runs = {}
    for seed in (3, 4):
        out = tmp_path / str(seed)
        result = grokflow(
            "reproduce", "linear", "--small", "--seed", seed, "--weight-decay", "1e-2", "--out", out
        )
        assert result.exit_code == 0, result.output
        assert sorted(os.listdir(out)) == ["linear.npz", "linear.png"]
        runs[seed] = Solution.load(out / "linear.npz")
    assert runs[3].settings["weight_decay"] == 1e-2
    assert runs[3].t_final == pytest.approx(1e3)
    assert not np.array_equal(runs[3].w[0], runs[4].w[0])


def test_the_diagonal_network_groks(tmp_path):
    result = grokflow("reproduce", "diagonal", "--small", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    sol = Solution.load(tmp_path / "diagonal.npz")
    assert sol["train_loss"][-1] < 1e-6
    assert sol["test_loss"][-1] < 1e-4 * sol["test_loss"][0]


def test_matrix_completion_is_that_of_the_paper(tmp_path):
    result = grokflow("reproduce", "matrix", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    sol = Solution.load(tmp_path / "matrix.npz")
    plateau = sol["norm"][np.searchsorted(sol.t, 1.0)] ** 2
    assert plateau == pytest.approx(310.0, rel=0.02)
    assert sol["norm"][-1] ** 2 == pytest.approx(106.0, rel=0.01)
    assert sol["singular_values"][-1, :3] == pytest.approx([24.5, 17.6, 10.7], rel=0.02)
    assert np.all(sol["singular_values"][-1, 3:] < 0.2)


def test_linear_regression_follows_its_closed_form():
    from grokflow.app.experiments.linear import closed_form

    rng = np.random.default_rng(1)
    X, w = rng.standard_normal((3, 5)), rng.standard_normal(5)
    y, lam, scale, step = rng.standard_normal(3), 0.3, 0.7, 1e-5
    t = np.array([0.0, 0.4 - step, 0.4, 0.4 + step])
    before, at, after = closed_form(X, y, scale, lam, w, t)[1:]
    assert closed_form(X, y, scale, lam, w, t)[0] == pytest.approx(w)
    slope = (after - before) / (2 * step)
    assert slope == pytest.approx(-scale * X.T @ (X @ at - y) - lam * at, rel=1e-8, abs=1e-9)


def test_reproduce_refuses(tmp_path):
    refused(grokflow("reproduce", "--weight-decay", "-1", "--out", tmp_path), "weight_decay is -1.0")
    refused(grokflow("reproduce", "--weight-decay", "0", "--out", tmp_path), "weight_decay is 0.0")
    unknown = grokflow("reproduce", "lineer")
    assert unknown.exit_code == 2
    assert "linear" in unknown.stderr


# run


def test_run_writes_everything_beside_each_other(csv, tmp_path):
    out = tmp_path / "out"
    arguments = ["--model", "two-layer", "--width", 6, "--activation", "tanh", "--weight-decay", "1e-2"]
    result = grokflow("run", "--data", csv, "--target", "y", *arguments, "--t-end", 100, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(out)) == ["data.npz", "figure.png", "settings.toml", "trajectory.npz"]
    sol = Solution.load(out / "trajectory.npz")
    assert sol.t_final == 100.0
    assert sol.final.size == 6 * (4 + 2) + 1
    assert "test_loss" in sol.observed
    with np.load(out / "data.npz") as data:
        assert data["X"].shape == (24, 4)
        assert data["X_test"].shape == (6, 4)


@pytest.mark.parametrize(
    "activation",
    [
        ["leaky_relu", "--negative-slope", 0.2],
        ["smooth_relu", "--smoothing", 0.1],
        ["polynomial", "--coefficients", "0,1,-0.1"],
    ],
)
def test_run_takes_activations_with_a_parameter(csv, tmp_path, activation):
    arguments = ["--width", 4, "--weight-decay", "1e-2", "--t-end", 10, "--out", tmp_path / "out"]
    for model in ("two-layer", "mlp")[: 1 + (activation[0] != "leaky_relu")]:  # kinks are for two layers
        options = ["--model", model, "--widths", "4,4", "--activation", *activation, *arguments]
        result = grokflow("run", "--data", csv, "--target", "y", *options)
        assert result.exit_code == 0, result.output
        first = Solution.load(tmp_path / "out" / "trajectory.npz").final
        assert grokflow("run", tmp_path / "out" / "settings.toml").exit_code == 0
        assert np.array_equal(Solution.load(tmp_path / "out" / "trajectory.npz").final, first)


def test_a_deep_network_with_kinks_is_warned_of_in_one_line(csv, tmp_path):
    arguments = ["--model", "mlp", "--widths", "3,3", "--activation", "relu", "--t-end", 0.1]
    result = grokflow("run", "--data", csv, "--target", "y", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("grokflow: warning: activation 'relu' has kinks")
    assert "'smooth_relu'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("model", ["linear", "diagonal", "two-layer", "mlp"])
def test_a_run_repeats_bit_for_bit_from_its_settings(csv, tmp_path, model):
    first = grokflow(
        "run",
        "--data",
        csv,
        "--target",
        "y",
        "--model",
        model,
        "--width",
        5,
        "--widths",
        "4,3",
        "--seed",
        3,
        "--out",
        tmp_path / "a",
    )
    assert first.exit_code == 0, first.output
    again = grokflow("run", tmp_path / "a" / "settings.toml", "--out", tmp_path / "b")
    assert again.exit_code == 0, again.output
    a, b = (Solution.load(tmp_path / name / "trajectory.npz") for name in "ab")
    assert np.array_equal(a.w, b.w)
    assert np.array_equal(a.t, b.t)
    assert all(np.array_equal(a[name], b[name]) for name in a.observed)
    before = (tmp_path / "a" / "trajectory.npz").stat().st_mtime_ns
    assert grokflow("run", tmp_path / "a" / "settings.toml").exit_code == 0
    assert (tmp_path / "a" / "trajectory.npz").stat().st_mtime_ns > before
    assert (tmp_path / "a" / "settings.toml").read_text() == (tmp_path / "b" / "settings.toml").read_text()


def test_settings_file_and_options(csv, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'data = "table.csv"\ntarget = "y"\nmodel = "linear"\nout = "there"\n'
        "weight-decay = 1\ntest_fraction = 0\n"
    )
    result = grokflow(
        "run", path, "--weight-decay", "0.5", "--no-standardise", "--ignore", "a", "--ignore", "b"
    )
    assert result.exit_code == 0, result.output
    sol = Solution.load(tmp_path / "there" / "trajectory.npz")
    assert sol.settings["weight_decay"] == 0.5
    assert sol.t_final == 20.0
    assert sol.final.size == 2
    assert "test_loss" not in sol.observed


def test_npz_input(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", X=rng.standard_normal((10, 3)), y=rng.standard_normal(10))
    result = grokflow("run", "--data", tmp_path / "d.npz", "--model", "linear", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weight-decay", "-1"], ["weight_decay is -1.0", "not negative"]),
        (["--weight-decay", "nan"], ["weight_decay is nan"]),
        (["--weight-decay", "0"], ["give t_end"]),
        (["--t-end", "-1"], ["t_span"]),
        (["--t-end", "inf"], ["t_span"]),
        (["--rtol", "0"], ["rtol"]),
        (["--atol", "-1"], ["atol"]),
        (["--method", "RK45"], ["method", "BDF", "Radau"]),
        (["--curvature", "dence"], ["curvature", "dense"]),
        (["--model", "lineer"], ["unknown model 'lineer'; did you mean 'linear'"]),
        (["--model", "two-layer", "--activation", "sin"], ["activation", "'sin'", "tanh"]),
        (["--model", "two-layer", "--negative-slope", "0.1"], ["negative_slope", "leaky_relu"]),
        (
            ["--model", "two-layer", "--activation", "leaky_relu", "--negative-slope", "nan"],
            ["negative_slope"],
        ),
        (["--model", "two-layer", "--activation", "smooth_relu", "--smoothing", "0"], ["smoothing"]),
        (["--model", "two-layer", "--activation", "relu", "--method", "BDF"], ["kink", "'Radau'"]),
        (["--model", "two-layer", "--width", "0"], ["width is 0"]),
        (["--model", "two-layer", "--width", "9" * 400], ["width is an integer of 1329 bits"]),
        (["--checkpoint-every", "soon"], ["checkpoint_every is 'soon'; it must be seconds, or such as"]),
        (["--model", "mlp", "--widths", "5,0"], ["widths[1] is 0"]),
        (["--model", "mlp", "--widths", "5 6"], ["widths is '5 6'; it must be integers with commas between"]),
        (["--test-fraction", "1"], ["test_fraction is 1.0"]),
        (["--test-fraction", "0.99"], ["none is left to train on"]),
        (["--seed", "-1"], ["seed is -1"]),
        (["--init-scale", "-1"], ["-1"]),
        (["--target", "z"], ["unknown column 'z'", "a, b, c, d, y"]),
        (["--ignore", "z"], ["unknown column 'z'"]),
        (["--data", "missing.csv"], ["missing.csv: No such file"]),
    ],
)
def test_run_refuses_bad_values_before_any_work(csv, tmp_path, arguments, words):
    out = tmp_path / "out"
    refused(grokflow("run", "--data", csv, *SMALL, "--out", out, *arguments), *words)
    assert not out.exists() or os.listdir(out) == []


def test_bad_options_leave_the_results_of_good_ones_as_they_are(csv, tmp_path):
    out = tmp_path / "out"
    assert grokflow("run", "--data", csv, *SMALL, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    refused(grokflow("run", out / "settings.toml", "--rtol", "-1"), "rtol is -1.0")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_run_refuses_bad_tables_with_row_and_column(tmp_path):
    path = tmp_path / "table.csv"
    for text, words in [
        ("a,y\n1,2\n,3\n", ["table.csv, row 3, column 'a'", "empty"]),
        ("a,y\n1,2\nred,3\n", ["row 3, column 'a'", "'red' is not a number"]),
        ("a,y\n1,nan\n", ["row 2, column 'y'", "not finite"]),
    ]:
        path.write_text(text)
        refused(grokflow("run", "--data", path, *SMALL), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weigth_decay = 1.0", ["unknown setting 'weigth_decay'; did you mean 'weight_decay'"]),
        ("width = 'a'", ["width is 'a'; it must be an integer"]),
        ("rtol = " + "9" * 400, ["rtol is 999", "it must be a number"]),
        ("width = 2.5", ["width is 2.5; it must be an integer"]),
        ("standardise = 1", ["standardise is 1; it must be true or false"]),
        ("weight_decay = true", ["weight_decay is True; it must be a number"]),
        ("ignore = [1]", ["ignore is [1]; it must be a list of texts"]),
        ("t-end = 1.0\nt_end = 2.0", ["'t_end' is given twice"]),
        ("width = ", ["is not TOML"]),
        ("", ["no data"]),
    ],
)
def test_run_refuses_bad_settings_files(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    refused(grokflow("run", path), *words)


def test_a_table_that_has_changed_is_not_taken_for_the_old_one(csv, tmp_path):
    assert grokflow("run", "--data", csv, *SMALL, "--out", tmp_path / "a").exit_code == 0
    csv.write_text(csv.read_text() + "1,2,3,4,5\n")
    again = tmp_path / "a" / "settings.toml"
    refused(grokflow("run", again), "table.csv has changed", "data_sha256")
    assert grokflow("run", again, "--data", csv, "--out", tmp_path / "b").exit_code == 0


def test_an_output_that_cannot_be_written_is_told_first(csv, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused(grokflow("run", "--data", csv, *SMALL, "--out", blocked), "cannot write into", "--out")
    refused(grokflow("reproduce", "--out", blocked / "below"), "cannot write into", "--out")


def test_a_time_limit_keeps_the_trajectory_and_says_so(csv, tmp_path):
    result = grokflow("run", "--data", csv, *SMALL, "--max-time", "1e-9", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "linear stopped at t = " in result.stderr
    assert Solution.load(tmp_path / "out" / "trajectory.npz").status == "time_limit"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_trajectory(csv, tmp_path, sent):
    endless = ["--width", 2000, "--method", "Radau", "--rtol", "1e-13", "--atol", "1e-15", "--t-end", "1e9"]
    interrupted(sent, tmp_path / "out", "run", "--data", csv, "--target", "y", *endless)
    sol = Solution.load(tmp_path / "out" / "trajectory.npz")
    assert sol.status == "interrupted"
    assert 0.0 < sol.t_final < 1e9
    assert np.all(np.isfinite(sol.final))


# the rest


def test_info_says_what_is_installed():
    result = grokflow("info")
    assert result.exit_code == 0
    for word in ("grokflow", "build", "threads", "Eigen", "numpy", "platform"):
        assert word in result.stdout


def test_no_command_shows_the_commands():
    result = grokflow()
    for name in ("reproduce", "run", "info"):
        assert name in result.output


def test_options_of_run_have_the_names_of_the_settings():
    text = grokflow("run", "--help").output
    for name in ("--test-fraction", "--init-scale", "--weight-decay", "--no-standardise", "--ignore"):
        assert name in text


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_closed_pipe_is_no_reason_to_complain(tmp_path):
    process = command("reproduce", "linear", "--small", "--out", tmp_path)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()
    process.stderr.close()
    assert (tmp_path / "linear.npz").exists()


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    from grokflow.cli import main

    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "grokflow.app.commands")
    with pytest.raises(SystemExit, match=r'needs typer: pip install "grokflow\[app\]"'):
        main()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
@pytest.mark.parametrize("arguments", [["info"], ["--help"], ["run", "--help"]])
def test_a_full_disk_behind_standard_output_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "grokflow", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.decode() == "grokflow: standard output: No space left on device\n"


NO_TOML = ["a = " + 10_000 * "[", "a = " + 10_000 * "9", "a = 1e", "width = 1\nwidth = 1", "a\0"]


@pytest.mark.parametrize("text", NO_TOML, ids=["deep", "long", "cut", "twice", "nul"])
def test_settings_that_are_no_toml_are_refused(tmp_path, text):
    (tmp_path / "settings.toml").write_text(text)
    refused(grokflow("run", tmp_path / "settings.toml"), "settings.toml is not TOML: ")


def test_a_table_in_place_of_settings_is_told_where_it_goes(tmp_path):
    (tmp_path / "table.csv").write_text("x,y\n1,2\n")
    refused(grokflow("run", tmp_path / "table.csv"), "table.csv is not TOML: ", "--data")


def test_where_memory_ends_the_run_is_kept(csv, tmp_path, monkeypatch):
    def out_of_memory(*arguments, **options):
        error = MemoryError("no room")
        error.solution = made(*arguments, **options)
        raise error

    made = gf.gradient_flow
    monkeypatch.setattr(gf, "gradient_flow", out_of_memory)
    result = grokflow("run", "--data", csv, *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr == "grokflow: out of memory: no room\n"
    assert Solution.load(tmp_path / "out" / "trajectory.npz").success
