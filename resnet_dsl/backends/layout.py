"""Source lines, laid out as `ruff format` lays them out.

    node = Atom(text)                                 a name, a number, an arithmetic expression
         | Call(function, arguments, exploded)        f(a, b)
         | Group("(" | "[" | "{", items, exploded)    a tuple, a list, a dictionary
         | Each(element, clauses)                     (element for … in …)
         | Prefixed(prefix, node)                     key=node, *node, "key": node
         | Noted(comment, node)                       an item with a comment line above it

A statement that fits stands on one line. One that does not is broken at its outermost brackets. The
arguments of a call then stand on one line of their own if they fit, and else one on a line, with a
comma behind the last; the items of a group always stand one on a line. `exploded` asks for the
long form even where the short one fits (the trailing comma keeps `ruff format` from undoing it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never
from unicodedata import east_asian_width

LINE_LENGTH = 100
INDENT = 4
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Atom:
    """Text that is never broken."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...] = ()
    exploded: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    opening: Literal["(", "[", "{"]
    items: tuple[Node, ...]
    exploded: bool = False


@dataclass(frozen=True, slots=True)
class Each:
    """A generator in parentheses; `clauses` are what follows the element: `for _ in range(3)`."""

    element: Node
    clauses: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Prefixed:
    prefix: str
    node: Node


@dataclass(frozen=True, slots=True)
class Noted:
    comment: str
    node: Node


Node: TypeAlias = Atom | Call | Group | Each | Prefixed | Noted


@dataclass(frozen=True, slots=True)
class Line:
    """A statement, `depth` levels inside of the suite that it stands in."""

    node: Node
    before: str = ""
    after: str = ""
    depth: int = 0


def keyword(name: str, value: Node | str) -> Prefixed:
    """`name=value`."""
    return Prefixed(f"{name}=", Atom(value) if isinstance(value, str) else value)


def width(text: str) -> int:
    """The columns that a line takes; wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def statement(before: str, node: Node, after: str = "", *, indent: int = 0) -> list[str]:
    """The lines of `before + node + after`, at `indent` columns."""
    pad = " " * indent
    text = flat(node)
    if text is not None and width(line := f"{pad}{before}{text}{after}") <= LINE_LENGTH:
        return [line]
    match node:
        case Atom():
            return [f"{pad}{before}{flat(node)}{after}"]
        case Prefixed(prefix, inner):
            return statement(before + prefix, inner, after, indent=indent)
        case Noted(comment, inner):
            return [f"{pad}# {comment}", *statement(before, inner, after, indent=indent)]
        case Call(function, arguments, exploded):
            if not arguments:
                return [f"{pad}{before}{function}(){after}"]
            return [
                f"{pad}{before}{function}(",
                *_inside(arguments, indent + INDENT, exploded, is_call=True),
                f"{pad}){after}",
            ]
        case Group(opening, items, exploded):
            return [
                f"{pad}{before}{opening}",
                *_inside(items, indent + INDENT, exploded, is_call=False, is_tuple=opening == "("),
                f"{pad}{_CLOSING[opening]}{after}",
            ]
        case Each(element, clauses):
            inside = [statement("", part, indent=indent + INDENT) for part in (element, *clauses)]
            return [
                f"{pad}{before}(",
                *(line for part in inside for line in part),
                f"{pad}){after}",
            ]
        case _:
            assert_never(node)


def suite(lines: Sequence[Line], *, indent: int) -> list[str]:
    """The lines of several statements."""
    return [
        text
        for line in lines
        for text in statement(
            line.before, line.node, line.after, indent=indent + INDENT * line.depth
        )
    ]


def deeper(lines: Iterable[Line]) -> list[Line]:
    """The statements one level further in."""
    return [replace(line, depth=line.depth + 1) for line in lines]


def signature(name: str, parameters: Sequence[str], result: str, *, indent: int = 0) -> list[str]:
    """The lines of a `def`; as those of a call, but a parameter on a line has a comma always."""
    pad, inner = " " * indent, " " * (indent + INDENT)
    joined = ", ".join(parameters)
    line = f"{pad}def {name}({joined}) -> {result}:"
    if width(line) <= LINE_LENGTH:
        return [line]
    one_line = len(parameters) > 1 and width(inner + joined) <= LINE_LENGTH
    inside = [inner + joined] if one_line else [f"{inner}{each}," for each in parameters]
    return [f"{pad}def {name}(", *inside, f"{pad}) -> {result}:"]


def _inside(
    items: tuple[Node, ...], indent: int, exploded: bool, *, is_call: bool, is_tuple: bool = False
) -> list[str]:
    if is_call and not exploded:
        texts = [flat(item) for item in items]
        known = [text for text in texts if text is not None]
        line = " " * indent + ", ".join(known)
        if len(known) == len(texts) and width(line) <= LINE_LENGTH:
            return [line]
    if len(items) == 1 and not exploded and not is_tuple:
        return statement("", items[0], indent=indent)
    return [line for item in items for line in statement("", item, ",", indent=indent)]


def flat(node: Node) -> str | None:
    """The node on one line; None where it asks for more."""
    match node:
        case Atom(text):
            return text
        case Prefixed(prefix, inner):
            text_inside = flat(inner)
            return None if text_inside is None else prefix + text_inside
        case Noted():
            return None
        case Call(function, arguments, exploded):
            inside = None if exploded and arguments else _joined(arguments, ", ")
            return None if inside is None else f"{function}({inside})"
        case Group(opening, items, exploded):
            inside = None if exploded else _joined(items, ", ")
            if inside is None:
                return None
            comma = "," if opening == "(" and len(items) == 1 else ""
            return f"{opening}{inside}{comma}{_CLOSING[opening]}"
        case Each(element, clauses):
            inside = _joined((element, *clauses), " ")
            return None if inside is None else f"({inside})"
        case _:
            assert_never(node)


def _joined(items: tuple[Node, ...], between: str) -> str | None:
    texts = []
    for item in items:
        text = flat(item)
        if text is None:
            return None
        texts.append(text)
    return between.join(texts)
