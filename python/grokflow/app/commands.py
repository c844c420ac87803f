"""The commands and their options.

Exit codes: 0 done, 1 stopped early, 2 wrong input, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from grokflow import _start
from grokflow.app import build
from grokflow.app.experiments import EXPERIMENTS
from grokflow.app.limit import limit as run_limit
from grokflow.app.reproduce import catalogue
from grokflow.app.reproduce import reproduce as run_experiments
from grokflow.app.resume import resume as go_on
from grokflow.app.run import run as run_settings
from grokflow.app.settings import Common, LimitSettings, Settings, kinds, merge, read_settings, words
from grokflow.app.solve import Interrupted
from grokflow.app.sweep import sweep as run_sweep

app = typer.Typer(
    help="Fast simulation of gradient flows with small weight decay.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments and papers; all of arXiv 2505.20172 if none is named."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for figures and trajectories.")] = Path(
        "grokflow-reproduce"
    ),
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of data and initial weights.  [default: 26]")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Instead of each experiment's own; of `limit` it is the largest.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="Small sizes, for a quick look.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="Say what there is.")] = False,
) -> None:
    """Run experiments: a table, and a figure and the trajectories (.npz) of each; of papers their scripts."""
    with reported():
        if list_them:
            for name, title in catalogue().items():
                typer.echo(f"{name:<16}{title}")
            return
        finish(run_experiments(names or list(EXPERIMENTS), out, seed, weight_decay, small, Console()))


def run(settings_file: Path | None = None, **options: Any) -> None:
    """Learn your own table; settings from a TOML file, from options, or both (options win)."""
    with reported():
        from_file = read_settings(settings_file, Settings) if settings_file else {}
        settings = merge(Settings, from_file, options)
        finish(run_settings(settings, Console()))


def limit(settings_file: Path | None = None, **options: Any) -> None:
    """Compare flows on your own table with their limit of vanishing weight decay; settings as for `run`."""
    with reported():
        from_file = read_settings(settings_file, LimitSettings) if settings_file else {}
        settings = merge(LimitSettings, from_file, options)
        finish(run_limit(settings, Console()))


@app.command()
def sweep(
    settings_file: Annotated[
        Path, typer.Argument(metavar="SETTINGS.toml", help="As for `run`, with lists of what is to be swept.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Directory for the results.  [default: grokflow-sweep]")
    ] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask cluster that computes.")] = None,
) -> None:
    """Run every combination of lists of settings, on all processors or a cluster."""
    with reported():
        finish(run_sweep(settings_file, out, dask, Console()))


@app.command()
def resume(
    checkpoint: Annotated[Path, typer.Argument(help="File that --checkpoint of a run has named.")],
    max_time: Annotated[
        float | None, typer.Option(help="Stop after so many seconds from now.  [default: as before]")
    ] = None,
    checkpoint_every: Annotated[str | None, typer.Option(help="How often the file is written.")] = None,
    checkpoint_errors: Annotated[str | None, typer.Option(help="Where that fails: warn or raise.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for the results.  [default: as before]")] = None,
) -> None:
    """Take up a run or a limit that has not come to its end, and write what it would have written."""
    with reported():
        changes = {
            "max_time": max_time,
            "checkpoint_every": checkpoint_every,
            "checkpoint_errors": checkpoint_errors,
        }
        finish(go_on(checkpoint, out, changes, Console()))


@app.command()
def info() -> None:
    """Say what this installation is made of."""
    for key, value in build.describe().items():
        typer.echo(f"{key:<12}{value}")


def finish(stopped: list[str]) -> None:
    """Exit with 1 if something has not come to its end, and say why in a line each."""
    for reason in stopped:
        say(reason)
    if stopped:
        raise typer.Exit(1)


@contextmanager
def reported() -> Iterator[None]:
    """Turn warnings, wrong input and signals into one line on stderr each, and the latter into exit codes."""
    try:
        with _start.interruptible(), warnings.catch_warnings():
            warnings.simplefilter("once", UserWarning)
            warnings.showwarning = show_warning
            yield
    except Interrupted as interrupt:
        fail(str(interrupt), interrupt.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        fail(f"{error.filename}: {reason}" if error.filename else reason, 2)
    except ValueError as error:
        fail(str(error), 2)
    except MemoryError as error:
        fail(f"out of memory: {error}", 1)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line on stderr, in place of `warnings.showwarning`."""
    say(f"warning: {message}")


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    say(message)
    raise typer.Exit(code)


def say(message: str) -> None:
    """Print one line on stderr."""
    print("grokflow:", " ".join(message.split()), file=sys.stderr)


def declare(command: Callable[..., None], settings: type[Common]) -> None:
    """Give `command` one option for each setting, so that their names have one home: the class `settings`."""
    argument = Annotated[Path | None, typer.Argument(metavar="[SETTINGS.toml]", help="File with settings.")]
    parameters = [
        inspect.Parameter(
            "settings_file", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=argument
        )
    ]
    known, allowed = kinds(settings), words(settings)
    for field in fields(settings):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        default = "" if value in (None, []) else f"  [default: {value}]"
        kind = known[field.name]
        parser = number_or(allowed[field.name]) if field.name in allowed else None
        described = typer.Option(help=field.metadata["help"] + default, parser=parser)
        declared = Annotated[kind | None, described]  # type: ignore[valid-type]
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=declared)
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command()(command)


def number_or(allowed: tuple[str, ...]) -> Callable[[str], float | str]:
    """Return what reads a number, or one of these words, from the command line."""

    def number(text: str) -> float | str:
        return text if text in allowed else float(text)

    return number


declare(run, Settings)
declare(limit, LimitSettings)
