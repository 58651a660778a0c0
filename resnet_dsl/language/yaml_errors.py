"""PyYAML's complaints in plain words.

The scanner speaks of tokens and simple keys; an author wants to know which line to change. The table is matched on
fragments that libyaml and the pure Python parser share, so the words do not depend on which of them is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

from resnet_dsl.errors import Diagnostic, Position, Related


@dataclass(frozen=True, slots=True)
class _Rule:
    """`problem`: any of these fragments; `at_opening` points to where the construct began instead."""

    problem: tuple[str, ...]
    message: str
    hint: str | None = None
    code: str = "RD006"
    at_opening: bool = False
    context: str = ""


_QUOTE = "put text that contains YAML's own characters in quotes"
_DIRECTIVE = _Rule(
    ("directive", "incompatible YAML"),
    "directives are not needed",
    "remove the line that begins with `%`",
)
_RULES = (
    _Rule(("tab character", "'\\t'"), "a tab stands where YAML wants spaces", "indent with spaces"),
    _Rule(("cannot start any token",), "a value cannot begin with `{character}`", "put the value in quotes"),
    _Rule(("unexpected end of stream",), "the quote that opens here is never closed", "close it", at_opening=True),
    _Rule(("unexpected document",), "the quote that opens here is never closed", "close it", at_opening=True),
    _Rule(
        ("mapping values are not allowed",),
        "this `:` does not belong here",
        "indent the line like its neighbours, end the line above with `:` if this belongs to it, "
        "or put text that contains `: ` in quotes",
    ),
    _Rule(("could not find expected ':'",), "this line has no `:`", "write `key: value`", at_opening=True),
    _Rule(
        ("sequence entries are not allowed",),
        "a list cannot begin on the line of its key",
        "begin the `-` on the next line, or write `[a, b]`",
    ),
    _Rule(("',' or ']'",), "expected `,` or `]` in the list", "close the list with `]`"),
    _Rule(("',' or '}'",), "expected `,` or `}` in the mapping", "close the mapping with `}`"),
    _Rule(("'-' indicator",), "a list entry begins with `-`, and this does not", "check the indentation"),
    _Rule(("but found '?'", "but found '<block mapping start>'"), "a list entry begins with `-`, and this does not",
          "check the indentation", context="block collection"),
    _Rule(("escape",), "there is no such escape inside double quotes",
          "write `\\\\` for a backslash, or use single quotes"),
    _Rule(("node content",), "a value is missing before `{character}`", _QUOTE),
    _Rule(("alphabetic or numeric",), "`&` and `*` need a name", _QUOTE),
    _Rule(("tag", "expected URI"), "tags are not part of the language", _QUOTE, code="RD011"),
    _Rule(("comment or line break", "indentation indicator"), "text begins on the line after `|` or `>`",
          "begin the text on the next line, indented",
          at_opening=True),
    _DIRECTIVE,
    _Rule(("<document start>",), "there is text after the end of the document", "remove the line `...`",
          code="RD007"),
    _Rule(("expected key", "<block end>"), "", None),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opened:
    """A list or a mapping within brackets that is not closed."""

    what: Literal["list", "mapping"]
    position: Position


def explain(
    error: yaml.YAMLError, file: str, lines: Sequence[str], opened: Opened | None = None
) -> Diagnostic:
    """The diagnostic for what PyYAML raised; `opened` is what the end of the text leaves open."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Diagnostic(
            "RD006", "this is not YAML", Position(file, 1, 1), lines[0], why=str(error)
        )
    problem, context = error.problem or "", error.context or ""
    opening = None if error.context_mark is None else _position(error.context_mark, file, lines)
    position = _position(error.problem_mark, file, lines)
    for rule in _RULES:
        if any(fragment in problem for fragment in rule.problem) and rule.context in context:
            break
    else:
        return Diagnostic(
            "RD006",
            f"this is not YAML: {problem}",
            position,
            lines[position.line - 1],
            why=context or None,
        )
    directive = next((index for index, line in enumerate(lines) if line.startswith("%")), None)
    if rule.code == "RD007" and directive is not None:
        rule, position = _DIRECTIVE, Position(file, directive + 1, 1, len(lines[directive]))
    if rule.at_opening and opening is not None:
        position = opening
    line = lines[position.line - 1]
    character = line[position.column - 1 : position.column]
    message, hint = rule.message.replace("{character}", character), rule.hint
    if not character and "{character}" in rule.message:
        message = "a value is missing at the end of the line"
        if opened is not None:
            position = opening = opened.position
            line = lines[position.line - 1]
            message = f"the {opened.what} that opens here is never closed"
            hint = f"close it with `{']' if opened.what == 'list' else '}'}`"
    if character == "\t":
        message, hint = _RULES[0].message, _RULES[0].hint
    code = rule.code
    if not message:
        code, message, hint = _out_of_place(line, position.column)
    related: tuple[Related, ...] = ()
    if "flow" in context and opening is not None and opening != position:
        related = (Related(opening, lines[opening.line - 1], "opened here"),)
    return Diagnostic(code, message, position, line, hint=hint, related=related)


def _out_of_place(line: str, column: int) -> tuple[str, str, str]:
    if line[: column - 1].strip():
        return "RD006", "the value before this is complete; nothing may follow it", _QUOTE
    if line[column - 1 : column] == ":":
        return "RD010", "there is no key before this `:`", "write `key: value`"
    return (
        "RD006",
        "this line is indented like none of the lines it could belong to",
        "check the indentation",
    )


def _position(mark: yaml.Mark, file: str, lines: Sequence[str]) -> Position:
    if mark.line >= len(lines):
        return Position(file, len(lines), len(lines[-1]) + 1)
    return Position(file, mark.line + 1, mark.column + 1)
