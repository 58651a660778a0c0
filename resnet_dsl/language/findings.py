"""What is found wrong while YAML is read, and where in the text it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import yaml

from resnet_dsl.errors import Diagnostic, Position, Related

MAX_FINDINGS = 100

_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)+")


class TooMuchError(Exception):
    """Stops the reading: a limit is passed, and what follows cannot be trusted to be small."""


class Findings:
    """The findings of one text; `lines` is what they show."""

    def __init__(self, file: str, lines: Sequence[str]) -> None:
        self.file = file
        self.lines = lines
        self.found: list[Diagnostic] = []

    def refuse(
        self,
        code: str,
        message: str,
        position: Position,
        *,
        why: str | None = None,
        hint: str | None = None,
        related: Iterable[Related] = (),
    ) -> None:
        line = self.line(position)
        self.found.append(Diagnostic(code, message, position, line, why, hint, tuple(related)))
        if len(self.found) >= MAX_FINDINGS:
            raise TooMuchError

    def line(self, position: Position) -> str | None:
        return self.lines[position.line - 1] if position.line <= len(self.lines) else None

    def text_at(self, position: Position) -> str:
        line = self.line(position) or ""
        text = line[position.column - 1 : position.column - 1 + position.width]
        return "" if text.startswith(":") else text.strip()

    def place(self, event: yaml.Event) -> Position:
        """Where the event's text begins, after its anchor and tag, and its width on its first line."""
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        if start.line >= len(self.lines):  # after the last line break
            return Position(self.file, len(self.lines), len(self.lines[-1]) + 1)
        column, line = start.column, self.lines[start.line]
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and (
            event.anchor or event.tag
        ):
            found = _PROPERTIES.match(line, column)
            if found and found.end() < len(line) and line[found.end()] != "#":
                column = found.end()
        block = isinstance(event, yaml.ScalarEvent) and event.style in ("|", ">")
        width = 1
        if not block and not isinstance(event, yaml.CollectionStartEvent):
            stop = end.column if end.line == start.line else len(line.rstrip())
            width = max(stop - column, 1)
        return Position(self.file, start.line + 1, column + 1, width)
