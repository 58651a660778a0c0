"""The algebra: one node rewritten as a person would write it.

Every rule keeps value and type exactly, for integers and for floats: a rule that floating-point
rounding would break is used only where the operand is known to be an integer. An expression that
has no value (`x * 0` with a string for x) may get one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias, assert_never

from resnet_dsl.ir.expr.tree import (
    LARGEST_INT,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    ExprError,
    Invoke,
    Literal,
    Name,
    Unary,
    children,
)
from resnet_dsl.ir.expr.values import evaluate

IsInteger: TypeAlias = Callable[[str], bool]
"""Says of a name whether it is known to be an integer."""

_MIRROR: Mapping[BinaryOp, BinaryOp] = MappingProxyType(
    {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
)
_OPPOSITE: Mapping[BinaryOp, BinaryOp] = MappingProxyType(
    {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
)
_EXACT_IN_FLOAT = 2**53


def simplify(expr: Expr, is_integer: IsInteger) -> Expr:
    """The node rewritten, its parts being simple already."""
    if all(isinstance(part, Literal) for part in children(expr)):
        try:
            return Literal(evaluate(expr, {}))
        except ExprError:
            return expr  # evaluating it will say what is wrong
    match expr:
        case Literal() | Name():
            return expr
        case Unary("-", operand):
            return _negated(operand)
        case Unary(_, operand):
            return _inverted(operand)
        case Binary("+", left, right):
            return _sum(left, right, is_integer)
        case Binary("-", left, right):
            return _difference(left, right, is_integer)
        case Binary("*", left, right):
            return _product(left, right, is_integer)
        case Binary("//", left, right):
            return _quotient(left, right, is_integer)
        case Binary("%", _, right):
            return Literal(0) if _integer(right) in (1, -1) else expr
        case Binary("and" | "or"):
            return _logic(expr)
        case Binary("/"):
            return expr
        case Binary():
            return _comparison(expr)
        case Conditional():
            return _conditional(expr)
        case Invoke("floor" | "ceil" | "round" | "int", (argument,)):
            return argument if _is_integral(argument, is_integer) else expr
        case Invoke("min" | "max", (first, *rest)):
            return first if all(item == first for item in rest) else expr
        case Invoke():
            return expr
        case _:
            assert_never(expr)


def _integer(expr: Expr) -> int | None:
    """The value of an integer constant; None for all else, `1.0` and `True` among it."""
    if isinstance(expr, Literal) and type(expr.value) is int:
        return expr.value
    return None


def _is_negative(expr: Expr) -> bool:
    return isinstance(expr, Literal) and type(expr.value) in (int, float) and expr.value < 0  # type: ignore[operator]


def _is_integral(expr: Expr, is_integer: IsInteger) -> bool:
    match expr:
        case Literal(value):
            return type(value) is int
        case Name(name):
            return is_integer(name)
        case Binary("//" | "%"):
            return True
        case Unary("-", operand):
            return _is_integral(operand, is_integer)
        case Binary("+" | "-" | "*", left, right) | Conditional(left, _, right):
            return _is_integral(left, is_integer) and _is_integral(right, is_integer)
        case Invoke("floor" | "ceil" | "round" | "int" | "make_divisible"):
            return True
        case Invoke("min" | "max" | "abs", arguments):
            return all(_is_integral(item, is_integer) for item in arguments)
        case _:
            return False


def _negated(operand: Expr) -> Expr:
    match operand:
        case Literal(int() | float() as value) if not isinstance(value, bool):
            return Literal(-value)
        case Unary("-", inner):
            return inner
        case Binary("-", left, right):
            return Binary("-", right, left)
        case _:
            return Unary("-", operand)


def _inverted(operand: Expr) -> Expr:
    match operand:
        case Unary("not", inner):
            return inner
        case Binary(op, left, right) if op in _OPPOSITE:
            return Binary(_OPPOSITE[op], left, right)
        case _:
            return Unary("not", operand)


def _sum(left: Expr, right: Expr, is_integer: IsInteger) -> Expr:
    if isinstance(left, Literal):
        left, right = right, left
    if isinstance(left, Unary) and left.op == "-":
        return _difference(right, left.operand, is_integer)
    constant = _integer(right)
    if constant is not None:
        return _shifted(left, constant, is_integer)
    if _is_negative(right) or (isinstance(right, Unary) and right.op == "-"):
        return Binary("-", left, _negated(right))
    return Binary("+", left, right)


def _difference(left: Expr, right: Expr, is_integer: IsInteger) -> Expr:
    constant = _integer(right)
    if constant is not None:
        return _shifted(left, -constant, is_integer)
    if _integer(left) == 0:
        return _negated(right)
    if left == right and _is_integral(left, is_integer):
        return Literal(0)
    if _is_negative(right) or (isinstance(right, Unary) and right.op == "-"):
        return Binary("+", left, _negated(right))
    return Binary("-", left, right)


def _shifted(expr: Expr, by: int, is_integer: IsInteger) -> Expr:
    """expr + by, `by` joined to a constant that `expr` ends in."""
    match expr:
        case Binary("+" | "-" as op, inner, Literal(int() as value)) if type(value) is int:
            total = by + (value if op == "+" else -value)
            if abs(total) <= LARGEST_INT and _is_integral(inner, is_integer):
                return _shifted(inner, total, is_integer)
    if by == 0:
        return expr
    return Binary("+", expr, Literal(by)) if by > 0 else Binary("-", expr, Literal(-by))


def _product(left: Expr, right: Expr, is_integer: IsInteger) -> Expr:
    if isinstance(left, Literal):
        left, right = right, left
    factor = _integer(right)
    if factor == 1:
        return left
    if factor == -1:
        return _negated(left)
    if factor == 0 and _is_integral(left, is_integer):
        return Literal(0)
    if factor is not None and isinstance(left, Binary) and left.op == "*":
        inner = _integer(left.right)
        if inner is not None:
            product = inner * factor
            # A power of two scales a float without rounding, so the two factors may be joined
            # whatever the operand is.
            scales = _is_power_of_two(inner) or _is_power_of_two(factor)
            exact = scales and abs(product) <= _EXACT_IN_FLOAT
            known = abs(product) <= LARGEST_INT and _is_integral(left.left, is_integer)
            if exact or known:
                return _product(left.left, Literal(product), is_integer)
    return Binary("*", left, right)


def _is_power_of_two(value: int) -> bool:
    return abs(value).bit_count() == 1


def _quotient(left: Expr, right: Expr, is_integer: IsInteger) -> Expr:
    """left // right; both are integers, or there is no value."""
    divisor = _integer(right)
    if divisor == 1:
        return left
    if isinstance(left, Binary) and left.op == "*" and divisor != 0:
        if left.right == right:
            return left.left
        if left.left == right:
            return left.right
        factor = _integer(left.right)
        if factor is not None and divisor and factor % divisor == 0:
            return _product(left.left, Literal(factor // divisor), is_integer)
    if isinstance(left, Binary) and left.op == "//":
        inner = _integer(left.right)
        if inner and divisor and inner > 0 and 0 < divisor <= LARGEST_INT // inner:
            return Binary("//", left.left, Literal(inner * divisor))
    return Binary("//", left, right)


def _logic(expr: Binary) -> Expr:
    left, right = expr.left, expr.right
    if isinstance(left, Literal):
        left, right = right, left
    if left == right:
        return left
    if isinstance(right, Literal) and isinstance(right.value, bool):
        return left if right.value is (expr.op == "and") else right
    return expr


def _comparison(expr: Binary) -> Expr:
    op, left, right = expr.op, expr.left, expr.right
    if left == right:
        return Literal(op in ("==", "<=", ">="))
    if isinstance(left, Literal):
        op, left, right = _MIRROR[op], right, left
    if isinstance(right, Literal) and isinstance(right.value, bool) and op in ("==", "!="):
        return left if right.value is (op == "==") else _inverted(left)
    return Binary(op, left, right)


def _conditional(expr: Conditional) -> Expr:
    """A conditional whose test is no constant: of one that is, the rewriting takes the branch."""
    if expr.then == expr.other:
        return expr.then
    match (expr.then, expr.other):
        case (Literal(True), Literal(False)):
            return expr.test
        case (Literal(False), Literal(True)):
            return _inverted(expr.test)
        case _:
            return expr
