"""How the tests call the command line."""

import subprocess
import sys
import time

from grokflow.app.commands import app
from typer.testing import CliRunner


def grokflow(*arguments):
    """Call a command within this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command(*arguments, **options):
    """Start a command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "grokflow", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def interrupted(sent, out, *arguments):
    """Start a command that writes into `out`, send a signal in the midst of it, and check how it ends."""
    process = command(*arguments, "--out", out)
    deadline = time.monotonic() + 30.0
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(sent)
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + sent, stderr
    assert stderr.startswith(f"grokflow: interrupted by {sent.name} at t = ")
    assert stderr.count("\n") == 1


def refused(result, *words):
    """Check that a command ended with code 2 and one line on stderr that has these words."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("grokflow: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
