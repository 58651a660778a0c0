"""Diagnostics: what is wrong, where, why, and what to write instead.

Every error that a user can cause is a `CompileError` holding one or more `Diagnostic`s; the command line prints
them (`render`) and exits with status 2. Anything else that escapes is a defect of the compiler.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a source text: 1-based line and column, and how many characters the caret underlines."""

    file: str
    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a key of `CODES`; `line_text` is the source line the position points into."""

    code: str
    message: str
    position: Position | None = None
    line_text: str | None = None
    why: str | None = None
    hint: str | None = None


class CompileError(Exception):
    """One or more diagnostics, reported together."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        if not found:
            raise ValueError("a CompileError needs at least one diagnostic")
        self.diagnostics: tuple[Diagnostic, ...] = found
        super().__init__("\n".join(item.message for item in found))
