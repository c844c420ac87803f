"""Every option of the command line against bad values: exit code 2, and one line that has these words.

The tables are complete: a setting that is added without its line here is noticed.
"""

import dataclasses
import importlib.util

import pytest

pytest.importorskip("typer")
from command_line import grokflow
from grokflow.app.commands import app
from grokflow.app.settings import LimitSettings, Settings
from typer.main import get_command

HAS_DASK = importlib.util.find_spec("distributed") is not None
ONE_LINE = {
    "data": [("nowhere.csv", "nowhere.csv: No such file or directory"), ("table.txt", "No such file")],
    "target": [("z", "unknown column 'z'")],
    "ignore": [("z", "unknown column 'z'")],
    "test_fraction": [
        ("1", "test_fraction is 1.0; it must be at least 0 and below 1"),
        ("-0.1", "test_fraction is -0.1"),
        ("nan", "test_fraction is nan"),
    ],
    "split_seed": [("-1", "split_seed is -1; it must not be negative")],
    "standardise": [],
    "model": [("two_layers", "unknown model 'two_layers'; did you mean 'two-layer'?")],
    "width": [("0", "width is 0; it must be at least 1"), ("99999999999999", "GiB")],
    "widths": [
        ("3;4", "widths is '3;4'; it must be integers with commas between"),
        ("", "widths is ''"),
        ("0", "widths[0] is 0"),
    ],
    "depth": [("1", "depth is 1; it must be at least 2")],
    "activation": [("relux", "activation is 'relux'; choose from")],
    "negative_slope": [("0.1", "negative_slope is 0.1, and activation 'tanh' has no such parameter")],
    "smoothing": [("0.1", "smoothing is 0.1, and activation 'tanh' has no such parameter")],
    "coefficients": [
        ("1,2", "coefficients is [1.0, 2.0], and activation 'tanh' has no such parameter"),
        ("1;2", "coefficients is '1;2'; it must be numbers with commas between"),
    ],
    "output_scale": [("0", "output_scale is 0.0; it must be positive"), ("nan", "output_scale is nan")],
    "output_bias": [],
    "seed": [("-1", "seed is -1; it must not be negative")],
    "init": [("kaiming", "unknown init 'kaiming'")],
    "init_scale": [("-1", "std of u is -1.0; it must not be negative"), ("nan", "std of u is nan")],
    "method": [("Euler", "method is 'Euler'; choose from")],
    "curvature": [("lu", "curvature is 'lu'; choose from")],
    "rtol": [("0", "rtol is 0.0; it must be positive"), ("inf", "rtol is inf; it must be finite")],
    "atol": [("-1", "atol is -1.0; it must be positive")],
    "max_time": [("0", "max_time is 0.0; it must be positive")],
    "loss": [("square", "unknown loss 'square'")],
    "label_smoothing": [("0.1", "label_smoothing is of loss = 'cross_entropy', and loss is 'squares'")],
    "checkpoint": [("table.csv", "where there is a file already")],
    "checkpoint_every": [],  # of a checkpoint: test_cli_resume
    "checkpoint_errors": [],
    "out": [("table.csv", "cannot write into table.csv")],
    "data_sha256": [("abc", "has changed since these settings were written")],
}
COMMANDS = {
    "run": (
        Settings,
        ONE_LINE
        | {
            "weight_decay": [
                ("-1", "weight_decay is -1.0; it must be finite and not negative"),
                ("nan", "weight_decay is nan"),
                ("inf", "weight_decay is inf"),
            ],
            "t_end": [
                ("-1", "t_span is (0, -1), which is reversed"),
                ("inf", "t_span[1] is inf"),
                ("nan", "t_span[1] is nan"),
            ],
        },
    ),
    "limit": (
        LimitSettings,
        ONE_LINE
        | {
            "weight_decay": [
                ("0", "weight_decay[0] is 0.0; a rate must be positive"),
                ("nan", "weight_decay[0] is nan"),
            ],
            "s_end": [("0", "s_end is 0.0; it must be positive"), ("inf", "s_end is inf")],
            "eps": [("0", "eps is 0.0"), ("100", "eps is 100; it must be smaller than s_end")],
            "kappa": [("-1", "kappa is -1.0; it must be positive")],
        },
    ),
}
OPTIONS = [
    pytest.param(command, name, bad, words, id=f"{command}-{name}-{bad}")
    for command, (_, settings) in COMMANDS.items()
    for name, values in settings.items()
    for bad, words in values
]


@pytest.mark.parametrize(("command", "name", "bad", "words"), OPTIONS)
def test_a_bad_option_is_one_line(tmp_path, monkeypatch, command, name, bad, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(10)))
    good = {
        "data": "table.csv",
        "target": "y",
        "model": "mlp" if name == "widths" else "two-layer",
        "out": "out",
    }
    options = [
        text for key, value in (good | {name: bad}).items() for text in (f"--{key.replace('_', '-')}", value)
    ]
    result = grokflow(command, *options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.startswith("grokflow: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not list(tmp_path.glob("out/*"))


OUT = [
    ("table.csv", "cannot write into table.csv: File exists"),
    ("/dev/null/a", "cannot write into /dev/null"),
]
NO_FILE = [("none", "none: No such file or directory"), (".", "Is a directory")]
OTHERS = {  # good arguments, and of each the bad values
    "reproduce": (
        ["linear"],
        {
            "names": [("nothing", "nothing")],
            "out": OUT,
            "seed": [("-1", "greater than or equal to 0"), ("x", "valid integer"), ("0.5", "valid integer")],
            "weight_decay": [
                ("-1", "weight_decay is -1.0; it must be positive and finite"),
                ("nan", "weight_decay is nan"),
                ("x", "valid number"),
            ],
        },
    ),
    "resume": (
        ["run.ckpt"],
        {
            "checkpoint": [*NO_FILE, ("table.csv", "table.csv is no checkpoint of grokflow")],
            "max_time": [
                ("0", "max_time is 0.0; it must be positive"),
                ("nan", "max_time is nan"),
                ("x", "valid number"),
            ],
            "checkpoint_every": [("soon", "checkpoint_every is 'soon'"), ("-1", "checkpoint_every is '-1'")],
            "checkpoint_errors": [("hide", "checkpoint_errors is 'hide'; choose from 'warn', 'raise'")],
            "out": OUT,
        },
    ),
    "sweep": (
        ["sweep.toml"],
        {
            "settings_file": [*NO_FILE, ("table.csv", "table.csv is not TOML")],
            "out": OUT,
            "dask": [
                ("nowhere", "missing port number in address 'nowhere'" if HAS_DASK else "--dask needs Dask")
            ],
        },
    ),
    "info": ([], {}),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What the commands take, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a,b,y\n" + "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(10)))
    settings = 'data = "table.csv"\ntarget = "y"\nmodel = "linear"\n'
    (tmp_path / "run.toml").write_text(settings)
    (tmp_path / "sweep.toml").write_text(settings + "seed = [0, 1]\n")
    stopped = grokflow("run", "run.toml", "--checkpoint", "run.ckpt", "--max-time", "1e-9", "--out", "one")
    assert stopped.exit_code == 1, stopped.output


def test_a_bad_value_of_any_other_command_is_told(files):
    known = get_command(app).commands
    for command, (good, table) in OTHERS.items():
        for name, values in table.items():
            (option,) = (parameter for parameter in known[command].params if parameter.name == name)
            for bad, words in values:
                arguments = [*good, option.opts[0], bad] if option.opts[0].startswith("-") else [bad]
                result = grokflow(command, *arguments)
                assert result.exit_code == 2, (command, arguments, result.output)
                assert words in result.stderr, (command, arguments)
                assert result.stdout == ""


def test_the_other_commands_are_complete():
    known = get_command(app).commands
    assert set(known) == {*COMMANDS, *OTHERS}
    for command, (_, table) in OTHERS.items():
        assert {p.name for p in known[command].params if not getattr(p, "is_flag", False)} == set(table)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_are_complete(command):
    settings, table = COMMANDS[command]
    assert {field.name for field in dataclasses.fields(settings)} == set(table)
