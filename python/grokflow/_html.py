"""What a notebook shows of a result: a small table of escaped text, without scripts or outer styles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from grokflow._manual import ENDS, address

GOOD, BAD = "#009E73", "#D55E00"


def card(
    kind: str,
    status: str,
    lines: Mapping[str, object],
    *,
    table: tuple[Sequence[str], Iterable[Sequence[str]]] | None = None,
    folded: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """Return a result as HTML: what it is and how it ended, lines, a table, and what is folded away.

    Parameters
    ----------
    kind, status : str
        What it is, and how it ended; a status that is no success is a link to what the manual says of it.
    lines : dict of str
        What is told, by name.
    table : (header, rows), optional
    folded : dict of str to dict, optional
        More lines, by title, which are seen when they are asked for.
    """
    colour = GOOD if status in ENDS else BAD
    word = f'<span style="color:{colour}">{escape(status)}</span>'
    if status not in ENDS and address(status):
        word = f'<a href="{escape(address(status))}">{word}</a>'
    parts = [f"<strong>{escape(kind)}</strong>: {word}", _lines(lines)]
    if table is not None:
        header, rows = table
        head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
        parts.append(f"<table><thead><tr>{head}</tr></thead>{''.join(map(_row, rows))}</table>")
    for title, entries in (folded or {}).items():
        parts.append(f"<details><summary>{escape(title)}</summary>{_lines(entries)}</details>")
    return f"<div>{''.join(parts)}</div>"


def _lines(entries: Mapping[str, object]) -> str:
    return f"<table>{''.join(_row(entry) for entry in entries.items())}</table>"


def _row(cells: Iterable[object]) -> str:
    style = ' style="text-align:left;vertical-align:top"'
    return f"<tr>{''.join(f'<td{style}>{escape(str(cell))}</td>' for cell in cells)}</tr>"
