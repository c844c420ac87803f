"""The types that are written for the compiled module name what it has: classes, methods and arguments."""

import ast
import operator
import re
from pathlib import Path

import grokflow
import pytest
from grokflow._backend import core

STUB = ast.parse((Path(grokflow.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))


def written(body):
    """Return {name: node} of what a body of the stub declares for all to see."""
    named = {
        getattr(node, "name", None) or getattr(getattr(node, "target", None), "id", "_"): node
        for node in body
    }
    return {name: node for name, node in named.items() if name.startswith("__") or not name.startswith("_")}


def compiled(namespace, own):
    """Return {name: object} of what is public there, and the special names among `own`."""
    return {name: thing for name, thing in namespace.items() if not name.startswith("_") or name in own}


def arguments(node):
    """Return the names of the arguments of a function of the stub."""
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def documented(function):
    """Return the names of the arguments in the signature that pybind11 puts into the docstring."""
    signature = re.search(r"^(?:1\. )?\w+\((.*)\) -> ", function.__doc__, flags=re.MULTILINE).group(1)
    while signature != (signature := re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", signature)):
        pass  # types have commas of their own
    names = [re.match(r"\w*", part.strip()).group() for part in signature.split(",")]
    return [name for name in names if name]


def functions(body):
    return [node for node in body if isinstance(node, ast.FunctionDef) and not node.decorator_list]


CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]
FUNCTIONS = {node.name: node for node in functions(STUB.body)}
FUNCTIONS |= {f"{owner.name}.{node.name}": node for owner in CLASSES for node in functions(owner.body)}


def test_names_of_the_module():
    assert written(STUB.body).keys() == compiled(vars(core), {"__version__", "__eigen_version__"}).keys()


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_names_of_a_class(node):
    stub, thing = written(node.body), getattr(core, node.name)
    names = compiled(vars(thing), {"__init__"} & stub.keys())
    assert stub.keys() == names.keys()
    properties = {name for name, member in names.items() if isinstance(member, property)}
    assert properties == {name for name, member in stub.items() if member.decorator_list}
    bases = [base.__name__ for base in thing.__bases__ if base.__module__ == core.__name__]
    assert [base.id for base in node.bases] == bases


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_a_function(name):
    """Where pybind11 knows no name (arg0), the place counts."""
    ours, theirs = arguments(FUNCTIONS[name]), documented(operator.attrgetter(name)(core))
    assert len(ours) == len(theirs)
    assert all(a == b or re.fullmatch(r"arg\d", b) for a, b in zip(ours, theirs, strict=True))
