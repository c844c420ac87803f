"""Blocks of parameters by name or pattern: ``{"*": 1e-3, "*.bias": 0.0}``."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def key_of(block: str, keys: Iterable[str]) -> str:
    """Return which of `keys` stands for `block`: its name, else the first pattern that fits, last "*"."""
    standing = (key for key in keys if stands_for(key, block))
    return min(standing, key=lambda key: (key != block, key == "*"), default="*")


def stands_for(key: object, block: str) -> bool:
    """Whether `key` is the name of `block`, or a pattern that it matches: "*.bias"."""
    return key == block or (isinstance(key, str) and fnmatchcase(block, key))
