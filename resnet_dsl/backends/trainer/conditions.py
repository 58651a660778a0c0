"""Conditions that settings decide, replaced by what they are.

    MEMORY and epoch > 3               epoch > 3
    fused=PARALLEL == "ddp"            fused=True
    hold_out if MEMORY else hold       hold_out

They are read off the tree and never evaluated by Python: names of settings, constants, tuples, comparisons, `and`,
`or`, `not`. Where more is asked of an expression than whether it is true, it is replaced only if it is a bool.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
# What needs no parentheses, wherever it stands.
_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Constant, ast.Subscript)

Settings: TypeAlias = Mapping[str, object]
_Edit: TypeAlias = tuple[int, int, str]  # from byte to byte, and what comes there


class UnknownError(Exception):
    """The value does not follow from the settings."""


def settle_conditions(text: str, settings: Settings) -> str:
    """The program with settled conditions as `True` and `False`, and without operands and sides that are out."""
    source = _Source(text)
    data = source.data
    for start, end, new in sorted(_edits(ast.parse(text), source, settings), reverse=True):
        data = data[:start] + new.encode() + data[end:]
    return data.decode()


def value_of(node: ast.expr, settings: Settings) -> object:
    """What an expression is, by the settings alone. Raises UnknownError."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in settings:
            return settings[name]
        case ast.Tuple(elts=items):
            return tuple(value_of(item, settings) for item in items)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not value_of(operand, settings)
        case ast.BoolOp(op=op, values=operands):
            return _joined(operands, settings, either=isinstance(op, ast.Or))
        case ast.Compare(left=left, ops=ops, comparators=right):
            values = [value_of(item, settings) for item in (left, *right)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(_COMPARE[type(op)](one, other) for op, one, other in pairs)
        case _:
            raise UnknownError


def _joined(operands: list[ast.expr], settings: Settings, *, either: bool) -> bool:
    """The truth of operands with `or` (either) or `and` between them, some of which may be unknown."""
    known = [_truth(operand, settings) for operand in operands]
    if either in known:
        return either
    if None in known:
        raise UnknownError
    return not either


def _truth(node: ast.expr, settings: Settings) -> bool | None:
    """Whether a condition holds; None where the settings do not say."""
    try:
        return bool(value_of(node, settings))
    except UnknownError:
        return None


def _edits(
    node: ast.AST, source: _Source, settings: Settings, asked: bool = False
) -> Iterator[_Edit]:
    """What changes inside of a node, of which it may be asked no more than whether it is true."""
    always_bool = isinstance(node, ast.Compare) or _is_not(node)
    if isinstance(node, ast.expr) and (asked or always_bool):
        truth = _truth(node, settings)
        if truth is not None:
            yield *source.span(node), str(truth)
            return
    match node:
        case ast.JoinedStr():  # in which Python 3.11 does not say where things stand
            return
        case ast.expr() if (rest := _rest(node, settings, asked)) is not node:
            yield from source.only(node, rest)
            yield from _edits(rest, source, settings, asked)
        case ast.BoolOp() if asked:
            left = _open(node, settings)
            yield from source.some(node, left)
            for operand in left:
                yield from _edits(operand, source, settings, asked)
        case _:
            for child in ast.iter_child_nodes(node):
                tested = child is getattr(node, "test", None) or _is_not(node)
                yield from _edits(child, source, settings, tested)


def _rest(node: ast.expr, settings: Settings, asked: bool) -> ast.expr:
    """What a node comes down to: the side that is taken, the one operand that is not settled; or it is all there."""
    match node:
        case ast.IfExp(test=test) if (holds := _truth(test, settings)) is not None:
            return _rest(node.body if holds else node.orelse, settings, asked)
        case ast.BoolOp() if asked and len(left := _open(node, settings)) == 1:
            return _rest(left[0], settings, asked)
        case _:
            return node


def _open(node: ast.BoolOp, settings: Settings) -> list[ast.expr]:
    """The operands that are not settled."""
    return [operand for operand in node.values if _truth(operand, settings) is None]


def _is_not(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


class _Source:
    """A text as bytes, in which the tree counts columns."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.lines = [0]  # where each begins
        for line in self.data.split(b"\n"):
            self.lines.append(self.lines[-1] + len(line) + 1)

    def span(self, node: ast.expr) -> tuple[int, int]:
        """From where to where a node stands, without parentheses around it."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.lines[node.lineno - 1] + node.col_offset
        return start, self.lines[node.end_lineno - 1] + node.end_col_offset

    def only(self, node: ast.expr, kept: ast.expr) -> Iterator[_Edit]:
        """Cuts all of a node but one part of it, and parentheses that are needed no more."""
        start, end = self.span(node)
        if isinstance(kept, _ATOMS):
            start, end = self.wide(start, end, 0, len(self.data))
        first, last = self.span(kept)
        yield start, first, ""
        yield last, end, ""

    def some(self, node: ast.BoolOp, kept: list[ast.expr]) -> Iterator[_Edit]:
        """Cuts all operands but some, each with the `and` or `or` between it and the next that stays."""
        low, high = self.span(node)
        spans = [self.wide(*self.span(operand), low, high) for operand in node.values]
        last = node.values.index(kept[-1])
        for index, operand in enumerate(node.values[:last]):
            if operand not in kept:
                yield spans[index][0], spans[index + 1][0], ""
        yield spans[last][1], high, ""

    def wide(self, start: int, end: int, low: int, high: int) -> tuple[int, int]:
        """A span within `low` and `high` with the parentheses around it, but not those of a call."""
        while True:
            before, after = self.data[low:start].rstrip(), self.data[end:high].lstrip()
            called = before[-2:-1].isalnum() or before[-2:-1] in (b"_", b")", b"]")
            if not before.endswith(b"(") or not after.startswith(b")") or called:
                return start, end
            start, end = low + len(before) - 1, high - len(after) + 1
