"""Where the manual explains how a run has ended."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

ENDS = {"finished", "event", "landed", "stationary"}  # a run came to what it was asked for, or to rest
PAGE = "manual/troubles.html"


def explained(status: str, message: str) -> str:
    """Return `message` with the place in the manual that explains `status`, where there is need of one."""
    return message if status in ENDS or not message else f"{message} See {place(status)}."


def place(status: str) -> str:
    """Return the address of what the manual says of a status, or how to find it where that is not known."""
    known = address(status)
    return known or f"{status!r} in the manual, on the page 'When something goes wrong'"


def address(status: str) -> str:
    """Return the address of what the manual says of a status; "" where the manual has none."""
    return f"{_root()}/{PAGE}#{status.replace('_', '-')}" if _root() else ""


@cache
def _root() -> str:
    """Return the address that the package gives for its documentation, if any (project.urls)."""
    try:
        urls = metadata("grokflow").get_all("Project-URL") or []
    except PackageNotFoundError:  # not installed, but on the path
        return ""
    named = (entry.partition(", ") for entry in urls)
    return next((url.rstrip("/") for name, _, url in named if name.lower() == "documentation"), "")
