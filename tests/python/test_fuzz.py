"""Every reader on files that nobody has written: a right value, or one line that says what is wrong."""

import io
import json
import warnings
from contextlib import closing
from functools import partial

import grokflow as gf
import numpy as np
import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("typer")
from grokflow import files
from grokflow.app import data
from grokflow.app.settings import LimitSettings, Settings, merge, read_settings
from grokflow.app.task import taken_up
from grokflow.checkpoint.blocks import BlockReader, writing
from grokflow.checkpoint.journal import LENGTH, Journal
from grokflow.memory import MemoryLimitError
from hypothesis import given
from hypothesis import strategies as st
from random_models import effort

CSV = b'a,b,y\n1,2.5,-3e-2\n"4",5,6\n'
TOML = b'data = "table.csv"\ntarget = "y"\nwidth = 8\nrtol = 1e-6\nignore = ["a"]\nstandardise = true\n'
PROBLEM = gf.models.LinearRegression([[1.0, 1.0]], [2.0])


def told(read, path, *also, names=True):
    """Read a file, or return None: then the error was one of ours, of one line, and named the file."""
    text = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read(path)
    except (ValueError, OSError, *also) as error:
        text = str(error)
    assert path.name in text or not names, text
    assert "\n" not in text
    assert len(text) < 2000
    return None


def bytes_of(save, path):
    save(path)
    found = path.read_bytes()
    path.unlink()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A good file for each reader."""
    folder = tmp_path_factory.mktemp("whole")
    run = partial(gf.gradient_flow, PROBLEM, [1.0, 0.0], (0.0, 10.0), weight_decay=0.1, max_steps=3)
    return {
        ".csv": CSV,
        ".toml": TOML,
        ".npz": bytes_of(lambda path: np.savez(path, X=np.ones((3, 2)), y=np.arange(3)), folder / "a.npz"),
        "solution": bytes_of(run().save, folder / "b.npz"),
        ".npy": bytes_of(lambda path: run(save_states=path), folder / "c.npy"),
        ".ckpt": bytes_of(lambda path: run(checkpoint=path), folder / "d.ckpt"),
    }


READERS = {
    ".csv": lambda path: data.read(path, "y"),
    ".toml": lambda path: [read_settings(path, kind) for kind in (Settings, LimitSettings)],
    ".npz": lambda path: data.read(path, None),
    "solution": gf.Solution.load,
    ".npy": gf.Solution.load,
    ".ckpt": lambda path: Journal.read(path).close(),
}


@st.composite
def changes(draw):
    """A function that damages bytes in some places."""
    edits = draw(
        st.lists(
            st.tuples(
                st.floats(0.0, 1.0),
                st.integers(0, 9),
                st.binary(max_size=6)
                | st.sampled_from([b"\n", b'"', b",", b"[", b"9" * 30, b"nan", b"\xff"]),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def damaged(content):
        for share, skipped, put in edits:
            at = round(share * len(content))
            content = content[:at] + put + content[at + skipped :]
        return content

    return damaged


@effort(300)
@pytest.mark.parametrize("kind", READERS)
def test_damaged_files(kind, effort, whole, tmp_path):
    path = tmp_path / f"file{kind if kind.startswith('.') else '.npz'}"

    @effort
    @given(changes())
    def law(damage):
        path.write_bytes(damage(whole[kind]))
        told(READERS[kind], path, MemoryLimitError)

    law()


@effort(300)
@pytest.mark.parametrize("kind", READERS)
def test_any_bytes(kind, effort, whole, tmp_path):
    path = tmp_path / f"file{kind if kind.startswith('.') else '.npz'}"

    @effort
    @given(st.binary(max_size=400), st.integers(0, 40))
    def law(content, head):
        path.write_bytes(whole[kind][:head] + content)
        told(READERS[kind], path, MemoryLimitError)

    law()


CELLS = st.sampled_from(
    ["1", "-2.5e3", " 7 ", "", "nan", "inf", "1_0", "0x1", "\u0663", '"', "a", "1e999", "\0"]
)


@effort(300)
def test_tables_of_odd_cells(effort, tmp_path):
    path = tmp_path / "table.csv"

    @effort
    @given(st.lists(st.lists(CELLS, max_size=4), max_size=5), st.sampled_from([",", ";", "\t", ", "]))
    def law(rows, comma):
        path.write_text("\n".join(comma.join(row) for row in [["a", "b", "y"], *rows]), encoding="utf-8")
        table = told(READERS[".csv"], path)
        if table is not None:
            assert np.isfinite(table.X).all()
            assert np.isfinite(table.y).all()

    law()


@effort(300)
def test_tables_come_back_as_they_were_written(effort, tmp_path):
    path = tmp_path / "table.csv"
    numbers = st.floats(allow_nan=False, allow_infinity=False)

    @effort
    @given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1), st.sampled_from(["\n", "\r\n", "\r"]))
    def law(rows, end):
        lines = ["a,b,y", *(",".join(map(repr, row)) for row in rows)]
        path.write_bytes(end.join(lines).encode())
        table = data.read(path, "y")
        expected = np.array(rows)
        assert table.X.tobytes() == expected[:, :2].tobytes()
        assert table.y.tobytes() == np.ascontiguousarray(expected[:, 2]).tobytes()

    law()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@effort(300)
def test_settings_of_any_kind(effort, tmp_path):
    """Their values are checked where they are read, or where they are merged."""
    import tomli_w

    path = tmp_path / "mine.toml"
    names = st.sampled_from([*Settings.__dataclass_fields__, "s_end", "widht"])
    value = st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3) | st.floats())

    @effort
    @given(
        st.dictionaries(names, value | st.booleans(), max_size=4), st.sampled_from([Settings, LimitSettings])
    )
    def law(values, kind):
        path.write_bytes(tomli_w.dumps(values).encode())
        found = told(lambda path: read_settings(path, kind), path)
        if found is not None:
            told(lambda path: merge(kind, found, {"data": "table.csv"}), path, names=False)

    law()


def replaced(tree, draw):
    """JSON with another value in one place."""
    if isinstance(tree, dict) and tree and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(tree)))
        return {**tree, key: replaced(tree[key], draw)}
    if isinstance(tree, list) and tree and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(tree) - 1))
        return [*tree[:at], replaced(tree[at], draw), *tree[at + 1 :]]
    return draw(JSON)


@effort(300)
def test_solution_files_whose_header_is_another(effort, whole, tmp_path):
    """With a checksum that fits: somebody else has written them."""
    path = tmp_path / "file.npz"
    with np.load(io.BytesIO(whole["solution"])) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop(files.HEADER).tobytes())

    @effort
    @given(st.data())
    def law(choose):
        path.write_bytes(files.pack(replaced(header, choose.draw), arrays))
        told(gf.Solution.load, path)

    law()


@pytest.fixture
def opened(whole, tmp_path):
    """The head of a checkpoint, what follows it, and a function that writes both, with fitting checksums."""
    path = tmp_path / "file.ckpt"
    path.write_bytes(whole[".ckpt"])
    with closing(BlockReader(path)) as reader:
        head = json.loads(reader.read(*LENGTH.unpack(reader.read(LENGTH.size))))
        rest = reader.read()

    def write(head, rest, damage=bytes):
        text = json.dumps(head).encode()
        with writing(path) as stream:
            stream.write(damage(LENGTH.pack(len(text)) + text + rest))
        return path

    return head, rest, write


@effort(300)
def test_checkpoints_whose_contents_are_others(effort, opened):
    """Of another version, or somebody else's."""
    head, rest, write = opened

    @effort
    @given(st.data(), st.just(bytes) | changes())
    def law(choose, damage):
        path = write(replaced(head, choose.draw), rest, damage)
        told(lambda path: gf.resume(path, max_steps=4), path, names=False)

    law()


FOUND = {
    "a run twice": lambda head, rest: ({**head, "runs": 2 * head["runs"]}, rest),
    "a run without facts": lambda head, rest: ({**head, "runs": [[head["runs"][0][0], None, None]]}, rest),
    "a run without a name": lambda head, rest: ({**head, "runs": [[[], *head["runs"][0][1:]]]}, rest),
    "no function": lambda head, rest: ({**head, "function": "f"}, rest),
    "no fingerprint": lambda head, rest: ({**head, "fingerprint": []}, rest),
    "format 0": lambda head, rest: ({**head, "format": 0}, rest),
    "a format that is no number": lambda head, rest: ({**head, "format": "1"}, rest),
    "a start of another size": lambda head, rest: (
        {**head, "arguments": {**head["arguments"], "w0": [0.0]}},
        rest,
    ),
    "an argument of another type": lambda head, rest: (
        {**head, "arguments": {**head["arguments"], "weight_decay": "x"}},
        rest,
    ),
    "an argument out of bounds": lambda head, rest: (
        {**head, "arguments": {**head["arguments"], "rtol": -1.0}},
        rest,
    ),
    "no problem": lambda head, rest: (
        {**head, "arguments": {**head["arguments"], "problem": None}},
        rest,
    ),
    "seconds that are no number": lambda head, rest: (
        {**head, "runs": [[name, {**facts, "seconds": []}, size] for name, facts, size in head["runs"]]},
        rest,
    ),
    "more arrays": lambda head, rest: ({**head, "arrays": 10**9}, rest),
    "an array with NUL in its header": lambda head, rest: (head, rest.replace(b"descr", b"d\0scr", 1)),
    "an array whose header does not end": lambda head, rest: (head, rest.replace(b"}", b"(", 1)),
    "another method": lambda head, rest: (
        {**head, "arguments": {**head["arguments"], "method": "Radau"}},
        rest,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_checkpoints_that_were_found(name, opened):
    head, rest, write = opened
    path = write(*FOUND[name](head, rest))
    with pytest.raises(gf.FileError, match=r"file\.ckpt is no checkpoint of this version of grokflow: "):
        gf.resume(path, max_steps=4)


def test_a_note_that_no_command_has_written(opened):
    head, rest, write = opened
    path = write({**head, "note": {"mapping": [["settings", {"mapping": [["widht", 3]]}]]}}, rest)
    with (
        closing(Journal.read(path)) as journal,
        pytest.raises(gf.FileError, match=r"file\.ckpt is no .*widht"),
    ):
        taken_up(journal, None)
