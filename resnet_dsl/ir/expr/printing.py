"""Expressions as Python source, which is also how the language writes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import assert_never

from resnet_dsl.ir.expr.tree import (
    MAX_DEPTH,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    Invoke,
    Literal,
    Name,
    Unary,
    Value,
    too_deep,
)

_NOTHING: Mapping[str, str] = MappingProxyType({})

# How tightly each form binds, as in Python. A part that binds less than its place asks for is put
# in parentheses.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARISON, _SUM, _TERM, _MINUS, _ATOM = range(9)
_BINDING: Mapping[BinaryOp, int] = MappingProxyType(
    {
        "or": _OR,
        "and": _AND,
        "==": _COMPARISON,
        "!=": _COMPARISON,
        "<": _COMPARISON,
        "<=": _COMPARISON,
        ">": _COMPARISON,
        ">=": _COMPARISON,
        "+": _SUM,
        "-": _SUM,
        "*": _TERM,
        "/": _TERM,
        "//": _TERM,
        "%": _TERM,
    }
)


def to_source(expr: Expr, rename: Mapping[str, str] = _NOTHING) -> str:
    """Python source with the fewest parentheses.

    `rename` gives another spelling to names and to functions:
    `{"in": "in_channels", "sqrt": "math.sqrt"}`.
    Raises ExprError for an expression nested too deep.
    """
    return _print(expr, rename, _CONDITIONAL, 0)


def _print(expr: Expr, rename: Mapping[str, str], place: int, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise too_deep()
    depth += 1
    match expr:
        case Literal(value):
            return _constant(value)
        case Name(name):
            return rename.get(name, name)
        case Unary("not", operand):
            text, binding = f"not {_print(operand, rename, _NOT, depth)}", _NOT
        case Unary(_, operand):
            inner = _print(operand, rename, _MINUS, depth)
            # `-3` is the constant; the negation of 3 is written `-(3)`, so that each tree has its
            # own spelling and reading it back gives the same tree.
            text, binding = f"-({inner})" if inner[0] in "0123456789" else f"-{inner}", _MINUS
        case Binary(op, left, right):
            binding = _BINDING[op]
            # Operators associate to the left, and comparisons not at all.
            left_place = binding + 1 if binding == _COMPARISON else binding
            first = _print(left, rename, left_place, depth)
            text = f"{first} {op} {_print(right, rename, binding + 1, depth)}"
        case Conditional(then, test, other):
            first = _print(then, rename, _OR, depth)
            condition = _print(test, rename, _OR, depth)
            last = _print(other, rename, _CONDITIONAL, depth)
            text, binding = f"{first} if {condition} else {last}", _CONDITIONAL
        case Invoke(function, arguments):
            inside = ", ".join(_print(item, rename, _CONDITIONAL, depth) for item in arguments)
            return f"{rename.get(function, function)}({inside})"
        case _:
            assert_never(expr)
    return f"({text})" if binding < place else text


def _constant(value: Value) -> str:
    if isinstance(value, str):
        quote = "'" if '"' in value else '"'
        plain = quote not in value and "\\" not in value and value.isprintable()
        return f"{quote}{value}{quote}" if plain else repr(value)
    return repr(value).replace("e+", "e") if isinstance(value, float) else repr(value)
