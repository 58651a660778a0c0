"""Where a character of a scalar's value stands in its source text."""

from __future__ import annotations

import re
from dataclasses import replace

from resnet_dsl.errors import Position

_SINGLE = re.compile(r"''|[^']")
_DOUBLE = re.compile(r"\\x.{2}|\\u.{4}|\\U.{8}|\\.|[^\"\\]")


def narrow(position: Position, line: str, offset: int, length: int | None) -> Position:
    """The part of a scalar's position that covers `length` characters of its value from `offset` on.

    A part outside the scalar's first line keeps the whole position: its place cannot be told from one line.
    """
    start = position.column - 1
    text = line[start : start + position.width]
    columns = _columns(text)
    stop = len(columns) - 1 if length is None else offset + max(length, 1)
    if not 0 <= offset < len(columns):
        return position
    if stop >= len(columns):  # such as an expression that ends too early: the place just after it
        stop = len(columns) - 1
    width = max(columns[stop] - columns[offset], 1)
    return replace(position, column=position.column + columns[offset], width=width)


def _columns(text: str) -> list[int]:
    """For each character of the value, and for its end, how many columns of source stand before it."""
    if text[:1] not in ("'", '"'):
        return list(range(len(text) + 1))
    pattern = _SINGLE if text[0] == "'" else _DOUBLE
    columns, index = [1], 1
    while found := pattern.match(text, index):
        index = found.end()
        columns.append(index)
    return columns
