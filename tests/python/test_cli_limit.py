"""`grokflow limit` and `grokflow reproduce limit`: files, repetition, bad input, and interruption."""

import os
import signal

import grokflow as gf
import numpy as np
import pytest

pytest.importorskip("typer")
from command_line import grokflow, interrupted, refused
from grokflow.limit import two_phase
from grokflow.solution import Solution

# 6 training rows, 49 weights: the network interpolates, and the manifold is regular along the drift.
NETWORK = ["--target", "y", "--test-fraction", 0.8, "--width", 8]
SMALL = [*NETWORK, "--weight-decay", "1e-3", "--weight-decay", "1e-4"]
FLOWS = ["flow-0.0001.npz", "flow-0.001.npz"]


def test_limit_writes_everything_beside_each_other(csv, tmp_path):
    out = tmp_path / "out"
    result = grokflow("limit", "--data", csv, *SMALL, "--out", out)
    assert result.exit_code == 0, result.output
    written = ["data.npz", "fast.npz", "figure.png", *FLOWS, "landing.npy", "report.txt", "settings.toml"]
    assert sorted(os.listdir(out)) == [*written, "slow.npz"]
    assert all(name in result.stdout.splitlines()[-1] for name in os.listdir(out))
    fast, slow = Solution.load(out / "fast.npz"), Solution.load(out / "slow.npz")
    assert fast.status == "landed"
    assert np.array_equal(np.load(out / "landing.npy"), slow.w[0])
    assert slow.t_final == 10.0
    assert slow.monitor["eta"].min() > 0.0
    for name, lam in zip(FLOWS, [1e-4, 1e-3], strict=True):
        sol = Solution.load(out / name)
        assert sol.settings["weight_decay"] == lam
        assert sol.t_final == pytest.approx(10.0 / lam)
        assert "test_loss" in sol.observed
    report = (out / "report.txt").read_text()
    assert report in result.stdout
    assert report.startswith("landing   landed at t = ")
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_repeats_bit_for_bit_from_its_settings(csv, tmp_path):
    arguments = ["--seed", 3, "--s-end", 5, "--eps", 0.2, "--kappa", 5, "--rtol", "1e-7"]
    first = grokflow("limit", "--data", csv, *SMALL, *arguments, "--out", tmp_path / "a")
    assert first.exit_code == 0, first.output
    again = grokflow("limit", tmp_path / "a" / "settings.toml", "--out", tmp_path / "b")
    assert again.exit_code == 0, again.output
    for name in ("fast.npz", "slow.npz", *FLOWS):
        a, b = (Solution.load(tmp_path / directory / name) for directory in "ab")
        assert np.array_equal(a.t, b.t)
        assert np.array_equal(a.w, b.w)
        assert all(np.array_equal(a[quantity], b[quantity]) for quantity in a.observed)
    for name in ("report.txt", "settings.toml", "landing.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_options_win_over_the_file(csv, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'data = "table.csv"\ntarget = "y"\ntest_fraction = 0.8\nwidth = 8\nout = "there"\n'
        "weight-decay = [1, 1e-1]\ns_end = 3\n"
    )
    assert grokflow("limit", path).exit_code == 0
    assert {path.name for path in (tmp_path / "there").glob("flow*")} == {"flow-1.0.npz", "flow-0.1.npz"}
    out = tmp_path / "here"
    result = grokflow("limit", path, "--weight-decay", "1e-2", "--out", out)
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.glob("flow*")] == ["flow-0.01.npz"]
    assert Solution.load(out / "flow-0.01.npz").t_final == pytest.approx(300.0)


def test_the_end_may_be_where_the_drift_is_at_rest(csv, tmp_path):
    """Said on the command line or in a file, to the same end."""
    out, path = tmp_path / "out", tmp_path / "mine.toml"
    assert grokflow("limit", "--data", csv, *SMALL, "--out", out, "--s-end", "auto").exit_code == 0
    path.write_text((out / "settings.toml").read_text())
    assert 's_end = "auto"' in path.read_text()
    assert grokflow("limit", path, "--out", tmp_path / "again").exit_code == 0
    ends = [Solution.load(tmp_path / where / "slow.npz").t_final for where in ("out", "again")]
    assert ends[0] == ends[1] != 10.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weight-decay", "-1"], ["weight_decay[2] is -1.0", "not be negative"]),
        (["--weight-decay", "0"], ["weight_decay[2] is 0.0", "must be positive"]),
        (["--weight-decay", "nan"], ["weight_decay[2] is nan", "finite"]),
        (["--weight-decay", "1e-3"], ["the rate 0.001 twice"]),
        (["--s-end", "0.1"], ["eps is 0.1; it must be smaller than s_end = 0.1"]),
        (["--s-end", "-1"], ["s_end is -1.0", "positive"]),
        (["--eps", "0"], ["eps is 0.0", "positive"]),
        (["--kappa", "0"], ["kappa is 0.0", "positive"]),
        (["--method", "RK45"], ["method", "BDF", "Radau"]),
        (["--curvature", "dence"], ["curvature", "dense"]),
        (["--activation", "relu", "--curvature", "dense"], ["curvature is 'dense'", "a kink", "'gram'"]),
        (["--rtol", "0"], ["rtol is 0.0"]),
        (["--model", "lineer"], ["unknown model 'lineer'; did you mean 'linear'"]),
        (["--target", "z"], ["unknown column 'z'"]),
    ],
)
def test_limit_refuses_bad_values_before_any_work(csv, tmp_path, arguments, words):
    out = tmp_path / "out"
    refused(grokflow("limit", "--data", csv, *SMALL, "--out", out, *arguments), *words)
    assert not out.exists() or os.listdir(out) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weight_decay = 1e-3", ["weight_decay is 0.001; it must be a list of numbers"]),
        ("weight_decay = ['1e-3']", ["it must be a list of numbers"]),
        ("weight_decay = [true]", ["it must be a list of numbers"]),
        ("s_end = '10'", ["s_end is '10'; it must be a number"]),
        ("t_end = 10.0", ["unknown setting 't_end'; did you mean 's_end'"]),
        ("", ["no data"]),
    ],
)
def test_limit_refuses_bad_settings_files(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    refused(grokflow("limit", path), *words)


def test_an_empty_list_of_rates_is_refused(csv, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('data = "table.csv"\ntarget = "y"\nwidth = 8\nweight_decay = []\n')
    refused(grokflow("limit", path, "--out", tmp_path / "out"), "weight_decay is empty", "at least one")


def test_an_output_that_cannot_be_written_is_told_first(csv, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    refused(grokflow("limit", "--data", csv, *SMALL, "--out", blocked), "cannot write into", "--out")


def test_a_time_limit_keeps_the_trajectories_and_says_so(csv, tmp_path):
    out = tmp_path / "out"
    result = grokflow("limit", "--data", csv, *SMALL, "--max-time", "1e-9", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.startswith("grokflow: landing: The wall-clock limit")
    assert result.stderr.count("\n") == 1
    for name in ("fast.npz", *FLOWS):
        assert Solution.load(out / name).status == "time_limit"
    assert (out / "figure.png").exists()
    assert "time_limit" in (out / "report.txt").read_text()
    assert not (out / "slow.npz").exists()
    assert not (out / "landing.npy").exists()


def test_where_no_drift_starts_the_flows_are_written(csv, tmp_path):
    out = tmp_path / "out"
    options = ["--target", "y", "--activation", "relu", "--width", 2, "--weight-decay", "1e-2", "--s-end", 1]
    result = grokflow("limit", "--data", csv, *options, "--out", out)
    assert result.exit_code == 1
    assert result.stderr.startswith("grokflow: drift: the residual does not vanish")
    assert result.stderr.count("\n") == 1
    assert Solution.load(out / "flow-0.01.npz").success
    assert (out / "landing.npy").exists()
    assert not (out / "slow.npz").exists()
    assert "residual does not vanish" in " ".join((out / "report.txt").read_text().split())


@pytest.mark.parametrize(("stage", "kept"), [("land", FLOWS), ("drift", ["fast.npz", *FLOWS]), ("flow", [])])
def test_an_interruption_keeps_what_was_done_before(csv, tmp_path, monkeypatch, stage, kept):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(two_phase, stage, interrupt)
    out = tmp_path / "out"
    result = grokflow("limit", "--data", csv, *SMALL, "--out", out)
    assert result.exit_code == 130
    assert result.stderr.startswith("grokflow: interrupted")
    inputs = ["data.npz", "settings.toml"] if kept else []
    assert sorted(os.listdir(out)) == sorted([*inputs, *kept])
    assert all(Solution.load(out / name).success for name in kept)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_flow_that_was_on_its_way(csv, tmp_path, sent):
    out = tmp_path / "out"
    slow = ["--width", 5000, "--method", "Radau", "--rtol", "1e-13", "--atol", "1e-15"]
    interrupted(sent, out, "limit", "--data", csv, *SMALL, *slow)
    sol = Solution.load(out / "flow-0.001.npz")
    assert sol.status == "interrupted"
    assert 0.0 < sol.t_final < 1e4
    assert np.all(np.isfinite(sol.final))


# reproduce


def test_reproduce_shows_that_the_distance_falls_as_the_weight_decay(tmp_path):
    result = grokflow("reproduce", "limit", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    slow = Solution.load(tmp_path / "limit-slow.npz")
    worst = []
    for lam in (1e-3, 1e-4, 1e-5):
        sol = Solution.load(tmp_path / f"limit-flow-{lam!r}.npz")
        s = lam * sol.t
        late = s >= 0.1
        drift = slow.w[[np.argmin(np.abs(slow.t - time)) for time in s[late]]]
        worst.append(np.linalg.norm(sol.w[late] - drift, axis=1).max())
    assert worst[0] / worst[1] == pytest.approx(10.0, rel=0.1)
    assert worst[1] / worst[2] == pytest.approx(10.0, rel=0.1)
    assert slow["test_loss"][-1] < 0.01 * slow["test_loss"][0]
    assert "lam^0.99" in result.stdout or "lam^1.00" in result.stdout


def test_reproduce_takes_a_weight_decay_for_the_largest_rate(tmp_path):
    result = grokflow("reproduce", "limit", "--small", "--weight-decay", "1e-2", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("limit-flow-*.npz"))) == 3
    assert (tmp_path / "limit-flow-0.01.npz").exists()
    assert "limit 0.01" in result.stdout


def test_an_interrupted_reproduction_keeps_the_flows(tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(two_phase, "drift", interrupt)
    result = grokflow("reproduce", "limit", "--small", "--out", tmp_path)
    assert result.exit_code == 130
    assert len(os.listdir(tmp_path)) == 4
    assert Solution.load(tmp_path / "limit-fast.npz").status == "landed"


# progress


def test_a_bar_is_shown_for_each_run_and_changes_nothing(monkeypatch):
    progress = pytest.importorskip("rich.progress")
    shown = []

    class Bar(progress.Progress):
        def update(self, task, **what):
            shown.append((what["description"].rpartition(" = ")[0], what["completed"]))
            super().update(task, **what)

    monkeypatch.setattr(progress, "Progress", Bar)
    problem = gf.models.LinearRegression(np.eye(2, 4), np.ones(2))
    phases, plain = (gf.two_phase(problem, np.ones(4) / 3, [1e-2], progress=show) for show in (True, False))
    assert list(dict.fromkeys(name for name, _ in shown)) == ["flow, lam = 0.01, t", "landing, t", "drift, s"]
    for name in ("flow, lam = 0.01, t", "drift, s"):
        done = [completed for run, completed in shown if run == name]
        assert done == sorted(done)
        assert done[-1] == 1.0
    assert np.array_equal(phases.slow.w, plain.slow.w)
