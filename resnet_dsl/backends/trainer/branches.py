"""`if True` and `if False`: what would run stays, one step to the left, and the rest goes.

    if True:              a()        if x:             if x:           if False:             return b()
        a()                              a()               a()             a()
    else:                            elif True:        else:           if True:
        b()                              b()               b()             return b()
                                                                       c()

With a statement that goes goes the comment right above it, unless that heads a paragraph of which something is left;
and with a suite that surely leaves its block, by `return`, `raise`, `continue` or `break`, goes what comes after it.
All other lines stay as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from resnet_dsl.backends.layout import INDENT

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)

# Lines, and whether whoever has come through them is sure to leave the block.
_Rest: TypeAlias = tuple[list[str], bool]


def fold_branches(text: str) -> str:
    """The program without branches that are settled.

    Raises ValueError where a suite would be left empty, and for what does not stand as `ruff format` puts it: two
    statements on a line, a string of several lines in a branch.
    """
    lines = text.split("\n")
    found, _ = _Program(lines).block(ast.parse(text).body, 0, len(lines))
    return "\n".join(found)


@dataclass(frozen=True, slots=True)
class _Clause:
    """`if`, `elif`, or `else` (without a test), with its suite. Lines count from 0: the first of what stands above the
    suite, the first of the suite, the one behind it."""

    head: int
    begin: int
    end: int
    suite: list[ast.stmt]
    test: ast.expr | None

    @property
    def settled(self) -> bool | None:
        """Whether it holds, once those before it do not; None where that is not settled."""
        match self.test:
            case None | ast.Constant(value=True):
                return True
            case ast.Constant(value=False):
                return False
            case _:
                return None


@dataclass(frozen=True, slots=True)
class _Program:
    """The lines of a program, and what remains of its statements."""

    lines: list[str]

    def block(self, nodes: list[ast.stmt], begin: int, end: int) -> _Rest:
        """What remains of statements, with the comments and blank lines around them."""
        found: list[str] = []
        at = begin
        for node in nodes:
            if self.lines[node.lineno - 1][: node.col_offset].strip():
                raise ValueError(f"line {node.lineno}: a statement stands behind another")
            above, at = self.lines[at : _first(node)], _behind(node)
            kept, left = self.chain(node) if isinstance(node, ast.If) else (self.whole(node), False)
            _add(found, above + kept)
            if not kept:
                _drop_comment(found, above, goes_on=at < end and self.lines[at] != "")
            if left:
                return found, True
        _add(found, self.lines[at:end])
        return found, isinstance(nodes[-1], _LEAVES)

    def suite(self, nodes: list[ast.stmt], begin: int, end: int) -> _Rest:
        """What remains of a block below a line that ends with a colon."""
        found, left = self.block(nodes, begin, end)
        while found and not found[-1]:
            found.pop()
        return found, left

    def whole(self, node: ast.stmt) -> list[str]:
        """A statement that stays, with what remains inside of it."""
        found: list[str] = []
        at, end = _first(node), _behind(node)
        for nodes in _suites(node):
            begin = self.begin(nodes)
            kept, _ = self.suite(nodes, begin, _behind(nodes[-1]))
            if not kept:
                raise ValueError(f"line {begin}: nothing is left of what stands below")
            found += self.lines[at:begin] + kept
            at = _behind(nodes[-1])
        return found + self.lines[at:end]

    def chain(self, node: ast.If) -> _Rest:
        """What remains of `if`, `elif`, `else`; whether one is sure to leave is told of what is settled alone."""
        found: list[str] = []
        for clause in self.clauses(node):
            if clause.settled is False:
                continue
            head = self.lines[clause.head : clause.begin]
            kept, left = self.suite(clause.suite, clause.begin, clause.end)
            if clause.settled:
                if not found:
                    return self.dedented(kept, clause), left
                if clause.test is not None:
                    head = [" " * node.col_offset + "else:"]
                return (found + head + kept if kept else found), False
            if not kept:
                raise ValueError(f"line {clause.begin}: nothing is left of what stands below")
            found += head + kept if found else [*map(_as_first, head), *kept]
        return found, False

    def clauses(self, node: ast.If) -> Iterator[_Clause]:
        """The clauses of a chain."""
        head = _first(node)
        begin, end = self.begin(node.body), _behind(node.body[-1])
        yield _Clause(head, begin, end, node.body, node.test)
        below = node.orelse[0] if node.orelse else None
        if isinstance(below, ast.If) and self.lines[_first(below)].lstrip().startswith("elif "):
            first, *others = self.clauses(below)
            yield _Clause(end, first.begin, first.end, first.suite, first.test)
            yield from others
        elif node.orelse:
            begin = self.begin(node.orelse)
            yield _Clause(end, begin, _behind(node.orelse[-1]), node.orelse, None)

    def begin(self, nodes: list[ast.stmt]) -> int:
        """The first line of a block, or of the comments above it."""
        first = _first(nodes[0])
        while self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return first

    def dedented(self, lines: list[str], clause: _Clause) -> list[str]:
        """The lines of a suite one step to the left."""
        for node in ast.walk(ast.Module(clause.suite, [])):
            match node:
                case ast.Constant(value=str(text), lineno=first, end_lineno=last) if first != last:
                    if "\n" in text:
                        raise ValueError(f"line {first}: a string of several lines cannot move")
        return [line[INDENT:] for line in lines]


def _suites(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks right inside of a statement, from top to bottom: also those of `except` and `case`."""
    for _, value in ast.iter_fields(node):
        items = value if isinstance(value, list) else []
        if items and isinstance(items[0], ast.stmt):
            yield items
        else:
            for item in items:
                if isinstance(item, ast.ExceptHandler | ast.match_case):
                    yield from _suites(item)


def _add(found: list[str], part: list[str]) -> None:
    """Adds lines, without blank ones that something has left behind between them."""
    start = 0
    while not found and start < len(part) and not part[start]:
        start += 1
    while found and part and not found[-1] and not part[0]:
        found.pop()
    found += part[start:]


def _drop_comment(found: list[str], above: list[str], *, goes_on: bool) -> None:
    """Takes comments at the end away that have lost what stood below them: those of `above`, unless they are at the
    head of a paragraph that goes on; and all where it does not."""
    start = len(found) - (_comments(above) if goes_on else _comments(found))
    if not goes_on or (start and found[start - 1]):
        del found[start:]


def _comments(lines: list[str]) -> int:
    """How many lines at the end are comments."""
    return next(
        (
            number
            for number, line in enumerate(reversed(lines))
            if not line.lstrip().startswith("#")
        ),
        len(lines),
    )


def _as_first(line: str) -> str:
    """The line of an `elif` as that of an `if`."""
    words = line.lstrip()
    return line.replace("elif ", "if ", 1) if words.startswith("elif ") else line


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(item.lineno for item in decorators)]) - 1


def _behind(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno
