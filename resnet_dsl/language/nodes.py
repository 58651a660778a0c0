"""A spec's text as a tree of nodes that know where they stand.

Nodes are never changed once built: an alias shares them, and `extends` and overrides make new ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic, Position
from resnet_dsl.language.scalars import Scalar

_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value."""

    value: Scalar
    position: Position


@dataclass(frozen=True, slots=True)
class ListNode:
    """`- a` or `[a]`."""

    items: tuple[Node, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class MapNode:
    """`a: b` or `{a: b}`: each key with its position and its value."""

    entries: dict[str, tuple[Position, Node]]
    position: Position


Node: TypeAlias = ScalarNode | ListNode | MapNode


def split_lines(text: str) -> tuple[str, ...]:
    """The lines as YAML counts them."""
    return tuple(_LINE_BREAK.split(text))


def check_characters(text: str, file: str, lines: Sequence[str]) -> None:
    """Refuse text with control characters. Raises CompileError."""
    refused = [character for character in set(text) if _is_refused(character)]
    if not refused:
        return
    start = min(map(text.index, refused))
    before = split_lines(text[:start])
    line, column = len(before), len(before[-1]) + 1
    raise CompileError(
        Diagnostic(
            "RD003",
            f"the character U+{ord(text[start]):04X} may not stand in a spec",
            Position(file, line, column),
            lines[line - 1],
            why="control characters are invisible, so what one reads would not be what is compiled",
            hint='remove it; inside double quotes it can be written as an escape, such as "\\x1b"',
        )
    )


def _is_refused(character: str) -> bool:
    """Control characters, lone surrogates, and the line breaks that only YAML 1.1 knows."""
    number = ord(character)
    return (
        (number < 0x20 and character not in "\t\n\r")
        or 0x7F <= number <= 0x9F
        or 0xD800 <= number <= 0xDFFF
        or character in "\u2028\u2029\ufeff\ufffe\uffff"
    )
