"""``grokflow resume``: a run or a limit that a signal, a limit or a crash has ended goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from grokflow.app import limit, run
from grokflow.app.settings import Settings
from grokflow.app.task import taken_up
from grokflow.checkpoint.journal import Journal
from grokflow.resume import take_up


def resume(path: Path, out: Path | None, changes: Mapping[str, Any], console: Console) -> list[str]:
    """Go on from the file at `path`, and write what the command that has begun it would have written.

    A limit on its time counts from here. What is None in `changes` is as before. Returns what has stopped
    early, in sentences.

    Raises
    ------
    ValueError, OSError
        The file is no checkpoint of a command, or damaged, or in use; or the directory cannot be written to.
    Interrupted
        As `run` and `limit`.
    """
    with closing(Journal.read(path.resolve())) as journal:
        task = taken_up(journal, out)
        again = {name: value for name, value in changes.items() if value is not None}

        def compute(progress: bool) -> Any:
            return take_up(journal, None, {"max_time": task.settings.max_time, "progress": progress, **again})

        carry_out = run.carry_out if isinstance(task.settings, Settings) else limit.carry_out
        return carry_out(task, compute, console)
