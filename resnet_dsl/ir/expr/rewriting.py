"""Putting expressions in the place of names, and building new ones; the results are simplified."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import assert_never

from resnet_dsl.ir.expr.simplifying import IsInteger, simplify
from resnet_dsl.ir.expr.tree import (
    MAX_DEPTH,
    Binary,
    Conditional,
    Expr,
    Invoke,
    Literal,
    Name,
    TypeName,
    Unary,
    check_size,
    too_deep,
)

_NO_TYPES: Mapping[str, TypeName] = MappingProxyType({})


def substitute(
    expr: Expr, bindings: Mapping[str, Expr], types: Mapping[str, TypeName] = _NO_TYPES
) -> Expr:
    """The expression with bound names replaced, simplified.

    `types` are those of the names that remain, as far as they are known; integers simplify
    further (`w + 1 + 2`). Raises ExprError where the result would be too deep or too large.
    """
    match expr:
        case Literal():
            return expr
        case Name(name):
            return bindings.get(name, expr)
        case _:
            is_integer: IsInteger = lambda name: types.get(name) == "int"  # noqa: E731
            return check_size(_rewrite(expr, bindings, is_integer, 0))


def add(left: Expr, right: Expr) -> Expr:
    """left + right, simplified.

    The four constructors are for counts: they take every name to be an integer.
    """
    return _count(Binary("+", left, right))


def sub(left: Expr, right: Expr) -> Expr:
    """left - right, simplified; for counts, as `add`."""
    return _count(Binary("-", left, right))


def mul(left: Expr, right: Expr) -> Expr:
    """left * right, simplified; for counts, as `add`."""
    return _count(Binary("*", left, right))


def floordiv(left: Expr, right: Expr) -> Expr:
    """left // right, simplified; for counts, as `add`."""
    return _count(Binary("//", left, right))


def _count(expr: Binary) -> Expr:
    return check_size(simplify(expr, lambda _name: True))


def _rewrite(expr: Expr, bindings: Mapping[str, Expr], is_integer: IsInteger, depth: int) -> Expr:
    if depth > MAX_DEPTH:
        raise too_deep()
    depth += 1
    match expr:
        case Literal():
            return expr
        case Name(name):
            return bindings.get(name, expr)
        case Unary(op, operand):
            node: Expr = Unary(op, _rewrite(operand, bindings, is_integer, depth))
        case Binary(op, left, right):
            first = _rewrite(left, bindings, is_integer, depth)
            node = Binary(op, first, _rewrite(right, bindings, is_integer, depth))
        case Conditional(then, test, other):
            chosen = _rewrite(test, bindings, is_integer, depth)
            if isinstance(chosen, Literal) and isinstance(chosen.value, bool):
                return _rewrite(then if chosen.value else other, bindings, is_integer, depth)
            first = _rewrite(then, bindings, is_integer, depth)
            node = Conditional(first, chosen, _rewrite(other, bindings, is_integer, depth))
        case Invoke(function, arguments):
            parts = tuple(_rewrite(item, bindings, is_integer, depth) for item in arguments)
            node = Invoke(function, parts)
        case _:
            assert_never(expr)
    return simplify(node, is_integer)
