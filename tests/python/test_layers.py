"""Imports of the package point one way, from the command line down to the compiled module."""

import ast
import pickle
from graphlib import TopologicalSorter
from pathlib import Path

import grokflow
import pytest

ROOT = Path(grokflow.__file__).parent
LAYERS = [  # each sees those before it, and a folder itself
    "_start _backend _manual _html _validate _warnings _arithmetic",
    "memory methods files pointers classes deadline",
    "snapshots threads problems provenance losses schedules patterns",
    "callbacks outputs _results check _taylor",
    "models frameworks",
    "checkpoint",
    "trajectory curves clocks",
    "figures embedding observables",
    "solution",
    "_options progress costs regularizers driver integrator flows",
    "limit",
    "resume scipy sweeps",
    "grokflow",  # what `import grokflow` gives
    "papers",
    "app",
    "cli __main__",
]
FLOOR = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms.split()}
LATE = {  # imports of the package that wait, and why they must
    ("_backend", "_core"),  # the build is chosen at import; only type checkers read the stub
    ("frameworks.from_torch", "frameworks.torch_model"),  # torch may be missing, and takes a second to import
    ("frameworks.from_jax", "frameworks.jax_model"),  # and so does jax
    ("cli", "app.commands"),  # its requirements may be missing, which is told to the user
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "grokflow"


FILES = {name_of(path): path for path in ROOT.rglob("*.py")}


def imports_of(path):
    """Return pairs (name of a module of the package, whether the import is at the top of the file)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, inside = name.partition(".")
            if package == "grokflow":
                module = inside if inside in FILES or inside == "_core" else inside.rpartition(".")[0]
                yield module or "grokflow", node in tree.body


IMPORTS = [(name, *found) for name, path in FILES.items() for found in imports_of(path)]
GRAPH = {name: {seen for by, seen, _ in IMPORTS if by == name} - {"_core"} for name in FILES}


def test_no_circle():
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(FILES)  # raises CycleError


def test_layers_point_one_way():
    room = {name: name.split(".")[0] for name in FILES}
    assert set(room.values()) == FLOOR.keys()
    wrong = [(name, seen) for name in FILES for seen in GRAPH[name] if FLOOR[room[seen]] > FLOOR[room[name]]]
    assert not wrong


def test_imports_stand_at_the_top():
    assert {(by, seen) for by, seen, top in IMPORTS if not top} == LATE


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("models", "LinearRegression DiagonalLinearNetwork MatrixCompletion TwoLayerNetwork"),
        ("methods", "BDF Radau Auto Gram Dense"),
        ("solution", "Solution"),
        ("clocks", "Clocks"),
        ("callbacks", "CallbackError PrecisionWarning"),
        ("files", "FileError"),
    ],
)
def test_a_pickle_of_version_0_1_0_finds_its_classes(module, names):
    for name in names.split():
        assert isinstance(pickle.loads(f"cgrokflow.{module}\n{name}\n.".encode()), type)
