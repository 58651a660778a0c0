"""Python source to Python source: what settings decide is decided, and the rest keeps its lines.

An `if`, an `elif` or a conditional expression whose condition follows from the settings alone goes; what it would have
run stays, with its comments. In `a and b` an operand that is settled goes as well. Conditions are names of settings,
constants, comparisons, `and`, `or`, `not`: they are read off the tree and never evaluated by Python.

The text is edited, not printed from a tree, so that comments and layout stay as they were written.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from resnet_dsl.backends.layout import INDENT

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
_SIMPLE = (ast.Name, ast.Attribute, ast.Call, ast.Constant, ast.Subscript)

Node: TypeAlias = ast.stmt | ast.expr


class UnknownError(Exception):
    """The value does not follow from the settings."""


def value_of(node: ast.expr, settings: Mapping[str, object]) -> object:
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
            return _settled(operands, settings, isinstance(op, ast.Or))
        case ast.Compare(left=left, ops=ops, comparators=right):
            values = [value_of(item, settings) for item in (left, *right)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(_COMPARE[type(op)](a, b) for op, a, b in pairs)
        case _:
            raise UnknownError


def _settled(operands: list[ast.expr], settings: Mapping[str, object], either: bool) -> bool:
    """`or` (either) and `and` of operands, some of which may be unknown."""
    open_ = False
    for operand in operands:
        try:
            if bool(value_of(operand, settings)) is either:
                return either
        except UnknownError:
            open_ = True
    if open_:
        raise UnknownError
    return not either


@dataclass
class _Edits:
    """What becomes of each line, and of spans within lines; lines count from 0."""

    dropped: set[int] = field(default_factory=set)
    dedent: dict[int, int] = field(default_factory=dict)
    cuts: list[tuple[int, int, int, int]] = field(
        default_factory=list
    )  # line, column to line, column
    elifs: set[int] = field(default_factory=set)

    def drop(self, first: int, last: int) -> None:
        self.dropped |= set(range(first, last + 1))

    def shift(self, first: int, last: int) -> None:
        for line in range(first, last + 1):
            self.dedent[line] = self.dedent.get(line, 0) + INDENT


def specialise(text: str, settings: Mapping[str, object]) -> str:
    """The program for these settings. Raises ValueError where a branch that goes would leave nothing behind."""
    lines = text.split("\n")
    edits = _Edits()
    _fold_block(ast.parse(text).body, settings, lines, edits)
    found = _applied(lines, edits)
    try:
        return _unused_marked(found)
    except SyntaxError as error:
        raise ValueError(f"the settings leave no program: {error}") from error


def _fold_block(
    block: list[ast.stmt], settings: Mapping[str, object], lines: list[str], edits: _Edits
) -> bool:
    """Fold the statements of a block; what follows a branch that leaves it goes. Whether the block is left so."""
    for index, node in enumerate(block):
        if isinstance(node, ast.If) and (holds := _decided(node.test, settings)) is not None:
            taken = _taken(node, holds, lines, edits)
            if _fold_block(taken, settings, lines, edits) or _leaves(taken):
                if index + 1 < len(block):
                    edits.drop(_end(node) + 1, _end(block[-1]))
                return True
        else:
            _fold(node, settings, lines, edits)
    return False


def _decided(test: ast.expr, settings: Mapping[str, object]) -> bool | None:
    try:
        return bool(value_of(test, settings))
    except UnknownError:
        return None


def _leaves(block: list[ast.stmt]) -> bool:
    return bool(block) and isinstance(block[-1], ast.Return | ast.Raise | ast.Continue)


def _fold(node: ast.AST, settings: Mapping[str, object], lines: list[str], edits: _Edits) -> None:
    """Fold what is inside a node that stays."""
    match node:
        case ast.If(test=test):
            _fold_operands(test, settings, edits)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            try:
                chosen = body if value_of(test, settings) else orelse
            except UnknownError:
                pass
            else:
                _keep_only(node, chosen, lines, edits)
                _fold(chosen, settings, lines, edits)
                return
        case _:
            pass
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            _fold_block(value, settings, lines, edits)
        else:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    _fold(child, settings, lines, edits)


def _taken(node: ast.If, holds: bool, lines: list[str], edits: _Edits) -> list[ast.stmt]:
    """Drop the branch of a settled `if` that is not taken; the statements of the other."""
    first, last = node.lineno - 1, _end(node)
    head = _head_end(node, lines)
    body_last = _end(node.body[-1])
    chained = _is_elif(node.orelse, lines)
    otherwise = node.orelse[0].lineno - 1 if node.orelse else last + 1
    if holds:
        edits.drop(first, head)
        edits.shift(head + 1, body_last)
        edits.drop(body_last + 1, last)
        return node.body
    if chained:
        edits.drop(first, otherwise - 1)
        edits.elifs.add(otherwise)
        return node.orelse
    opened = next(
        (line for line in range(body_last + 1, otherwise) if lines[line].strip() == "else:"), last
    )
    edits.drop(first, opened)
    edits.shift(opened + 1, last)
    return node.orelse


def _fold_operands(test: ast.expr, settings: Mapping[str, object], edits: _Edits) -> None:
    """Cut the operands of `and` and `or` that are settled."""
    if not isinstance(test, ast.BoolOp):
        return
    known: list[bool] = []
    for operand in test.values:
        try:
            value_of(operand, settings)
            known.append(True)
        except UnknownError:
            known.append(False)
    kept = known.index(False)
    for index, (operand, settled) in enumerate(zip(test.values, known, strict=True)):
        if settled and index < kept:  # with the `and` after it
            _cut(edits, _start(operand), _start(test.values[index + 1]))
        elif settled:  # with the `and` before it
            _cut(edits, _finish(test.values[index - 1]), _finish(operand))


def _keep_only(node: ast.IfExp, chosen: ast.expr, lines: list[str], edits: _Edits) -> None:
    """Cut all of a conditional expression but one side, and parentheses that only held it together."""
    (line, column), (end_line, end_column) = _start(node), _finish(node)
    row, end_row = lines[line].encode(), lines[end_line].encode()
    before, after = row[column - 1 : column], end_row[end_column : end_column + 1]
    called = row[: column - 1].rstrip()[-1:]
    bare = before == b"(" and after == b")" and not (called.isalnum() or called in b"_)]")
    if bare and isinstance(chosen, _SIMPLE):
        column, end_column = column - 1, end_column + 1
    _cut(edits, (line, column), _start(chosen))
    _cut(edits, _finish(chosen), (end_line, end_column))


def _applied(lines: list[str], edits: _Edits) -> str:
    kept: list[str] = []
    cut: dict[int, list[tuple[int, int]]] = {}
    for line, column, end_line, end_column in edits.cuts:
        if line != end_line:
            raise ValueError(f"line {line + 1}: what settings decide must stand on one line")
        cut.setdefault(line, []).append((column, end_column))
    for number, whole in enumerate(lines):
        if number in edits.dropped:
            continue
        row = whole.encode()
        for column, end_column in sorted(cut.get(number, ()), reverse=True):
            row = row[:column] + row[end_column:]
        text = row.decode()
        if number in edits.elifs:
            text = text.replace("elif ", "if ", 1)
        shift = edits.dedent.get(number, 0)
        if text[:shift].strip():
            raise ValueError(f"line {number + 1} cannot move to the left: {text!r}")
        text = text[shift:]
        if not text.strip() and kept and (not kept[-1].strip() or kept[-1].rstrip().endswith(":")):
            indented = kept[-1].strip()  # a blank line that a branch left behind
            if indented or (len(kept) > 1 and not kept[-2].strip()):
                continue
        kept.append(text)
    return "\n".join(kept)


def _unused_marked(text: str) -> str:
    """The program with `_` before the variables of loops that no branch which is left reads."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.For):
            read = {
                item.id
                for part in node.body
                for item in ast.walk(part)
                if isinstance(item, ast.Name)
            }
            targets = [item for item in ast.walk(node.target) if isinstance(item, ast.Name)]
            for name in sorted(targets, key=lambda name: -name.col_offset):
                if name.id not in read and not name.id.startswith("_"):
                    row = lines[name.lineno - 1]
                    lines[name.lineno - 1] = f"{row[: name.col_offset]}_{row[name.col_offset :]}"
    return "\n".join(lines)


def _cut(edits: _Edits, start: tuple[int, int], end: tuple[int, int]) -> None:
    if start != end:
        edits.cuts.append((*start, *end))


def _head_end(node: ast.If, lines: list[str]) -> int:
    """The line of the colon."""
    line = _end(node.test)
    while not lines[line].split("  #")[0].rstrip().endswith(":"):
        line += 1
    return line


def _is_elif(orelse: list[ast.stmt], lines: list[str]) -> bool:
    return bool(orelse) and lines[orelse[0].lineno - 1].lstrip().startswith("elif ")


def _end(node: Node) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - 1


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno - 1, node.col_offset


def _finish(node: ast.expr) -> tuple[int, int]:
    assert node.end_col_offset is not None
    return _end(node), node.end_col_offset
