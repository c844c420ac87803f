"""Ctrl-C and SIGTERM at any moment: what has been computed is kept."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest
from command_line import command
from grokflow import driver, files
from grokflow.app import report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
STRESS = Path(__file__).with_name("interrupts.py")
SMALL = ["--target", "y", "--model", "linear", "--weight-decay", "0.1"]


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_interrupts_at_random_moments_lose_nothing(count):
    stress = [sys.executable, STRESS, str(count)]
    assert subprocess.run(stress, stderr=subprocess.PIPE, check=False, timeout=600).stderr.decode() == ""


def test_a_run_that_was_done_says_so_on_the_interrupt(monkeypatch):
    """One that comes after the last step, when the result is made."""
    made = driver.Driver.solution

    def interrupted(self, interrupted_by=None):
        if interrupted_by is None:
            raise KeyboardInterrupt
        return made(self, interrupted_by)

    monkeypatch.setattr(driver.Driver, "solution", interrupted)
    problem = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    with pytest.raises(KeyboardInterrupt) as caught:
        gf.gradient_flow(problem, np.ones(3), (0, 10), weight_decay=0.1)
    assert caught.value.solution.status == "finished"
    assert caught.value.solution.t_final == 10


def test_an_interrupt_of_save_is_an_interrupt(tmp_path, monkeypatch):
    """Not what zipfile says when it is left between two of its lines; the old file stays."""

    class Archive(files.zipfile.ZipFile):
        def open(self, *arguments, **options):
            super().open(*arguments, **options)
            raise KeyboardInterrupt

    sol = gf.gradient_flow(gf.models.LinearRegression([[1.0]], [1.0]), [0.0], (0, 1), weight_decay=0.1)
    sol.save(tmp_path / "a.npz")
    monkeypatch.setattr(files.zipfile, "ZipFile", Archive)
    with pytest.raises(KeyboardInterrupt):
        sol.save(tmp_path / "a.npz")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    np.testing.assert_array_equal(gf.Solution.load(tmp_path / "a.npz").final, sol.final)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["run", "limit"])
def test_a_signal_while_results_are_written_waits(csv, tmp_path, monkeypatch, capsys, sent, what):
    from grokflow.app import limit, task
    from grokflow.app.commands import app

    def interrupted_write(path, data):
        os.kill(os.getpid(), sent)
        files.write_atomically(path, data)

    for module in (limit, task, report):
        monkeypatch.setattr(module, "write_atomically", interrupted_write)
    options = [*SMALL[:-1], *(["1e-2"] if what == "limit" else ["0.1"])]
    with pytest.raises(SystemExit) as ended:
        app([what, "--data", str(csv), *options, "--out", str(tmp_path / "out")])
    assert ended.value.code == 128 + sent
    told = f"interrupted by {sent.name} while the results were written; what was found so far is saved"
    assert capsys.readouterr().err == f"grokflow: {told}\n"
    names = {"run": ["trajectory.npz"], "limit": ["fast.npz", "flow-0.01.npz", "slow.npz"]}[what]
    for name in names:
        assert gf.Solution.load(tmp_path / "out" / name).success
    assert {"data.npz", "settings.toml", "figure.png"} < {path.name for path in (tmp_path / "out").iterdir()}
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_signals_at_random_moments_of_a_command(csv, tmp_path, count):
    """It ends in one line, with what its exit code says, and leaves whole files and no scratch."""
    began = time.perf_counter()
    assert command("run", "--data", csv, *SMALL, "--out", tmp_path / "whole").communicate()[1] == ""
    took = time.perf_counter() - began
    rng = np.random.default_rng(0)
    for i, seconds in enumerate(took * rng.uniform(0.2, 1.1, count)):
        out, sent = tmp_path / str(i), [signal.SIGINT, signal.SIGTERM][i % 2]
        process = command("run", "--data", csv, *SMALL, "--out", out)
        time.sleep(seconds)
        process.send_signal(sent)
        stderr = process.communicate(timeout=60)[1]
        assert process.returncode in (0, 128 + sent, -sent), stderr
        assert stderr.count("\n") <= 1
        assert not list(out.glob(".*.npz.*"))
        if "saved" in stderr or process.returncode == 0:
            gf.Solution.load(out / "trajectory.npz")


@pytest.mark.parametrize(
    "module", ["numpy", "grokflow.solution", "matplotlib.artist", "typer", "grokflow.app.run"]
)
def test_ctrl_c_while_the_command_is_imported_is_one_line(module):
    """Sent by a finder of modules, as one of them is asked for."""
    program = f"""
        import os, runpy, signal, sys
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Finder())
        sys.argv = ["grokflow", "--help"]
        from grokflow.cli import main
        main()
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
    assert ended.stderr.decode() == "grokflow: interrupted\n"
    assert ended.returncode == 130
    assert ended.stdout == b""


def test_import_into_another_program_leaves_ctrl_c_alone():
    program = "import signal, grokflow; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
