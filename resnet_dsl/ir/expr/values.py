"""The value of an expression: as in Python, but with nothing implicit (see `rules.py`)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from resnet_dsl.ir.expr.printing import to_source
from resnet_dsl.ir.expr.rules import (
    binary_type,
    call_type,
    condition_type,
    unary_type,
    unknown_name,
)
from resnet_dsl.ir.expr.tree import (
    LARGEST_INT,
    MAX_DEPTH,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    ExprError,
    FunctionName,
    Invoke,
    Literal,
    Name,
    Unary,
    Value,
    too_deep,
    type_of,
)

_OPERATORS: Mapping[BinaryOp, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def make_divisible(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, or the next one up where that is under 90 %.

    The field's rule for channel counts (MobileNetV2's reference code, timm, torchvision).
    """
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


_CALLS: Mapping[FunctionName, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "abs": abs,
    "sqrt": math.sqrt,
    "int": int,
    "make_divisible": make_divisible,
}


def evaluate(expr: Expr, env: Mapping[str, Value]) -> Value:
    """The value under `env`.

    Raises ExprError: unknown name, wrong type, division by zero, out of range, nested too deep.
    """
    return _evaluate(expr, env, 0)


def _evaluate(expr: Expr, env: Mapping[str, Value], depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise too_deep()
    depth += 1
    match expr:
        case Literal(value):
            return value
        case Name(name):
            if name not in env:
                raise unknown_name(expr, env)
            return env[name]
        case Unary(op, operand):
            value = _evaluate(operand, env, depth)
            unary_type(expr, type_of(value))
            return not value if op == "not" else operator.neg(value)  # type: ignore[arg-type]
        case Binary("and" | "or" as op, left, right):
            first = _evaluate(left, env, depth)
            binary_type(expr, type_of(first), "bool")
            if first is (op == "or"):
                return first
            second = _evaluate(right, env, depth)
            binary_type(expr, "bool", type_of(second))
            return second
        case Binary(_, left, right):
            return _operate(expr, _evaluate(left, env, depth), _evaluate(right, env, depth))
        case Conditional(then, test, other):
            chosen = _evaluate(test, env, depth)
            condition_type(expr, type_of(chosen))
            return _evaluate(then if chosen else other, env, depth)
        case Invoke(_, arguments):
            return _call(expr, [_evaluate(item, env, depth) for item in arguments])
        case _:
            assert_never(expr)


def _operate(expr: Binary, left: Value, right: Value) -> Value:
    binary_type(expr, type_of(left), type_of(right))
    if expr.op in ("/", "//", "%") and right == 0:
        raise ExprError(f"`{to_source(expr)}` divides by zero", expr)
    return _in_range(expr, _OPERATORS[expr.op](left, right))


def _call(expr: Invoke, values: Sequence[Value]) -> Value:
    call_type(expr, [type_of(value) for value in values])
    number = values[0]
    assert not isinstance(number, str)
    if expr.function == "sqrt" and number < 0:
        raise ExprError(f"`{to_source(expr)}` is the square root of a negative number", expr)
    if expr.function == "make_divisible":
        divisor = values[1]
        assert isinstance(divisor, int)
        if divisor < 1:
            raise ExprError(f"`{to_source(expr)}` asks for a multiple of {divisor}", expr)
    return _in_range(expr, _CALLS[expr.function](*values))


def _in_range(expr: Expr, value: Value) -> Value:
    if isinstance(value, int):
        representable = abs(value) <= LARGEST_INT
    else:
        representable = isinstance(value, str) or math.isfinite(value)
    if not representable:
        raise ExprError(f"the value of `{to_source(expr)}` is too large", expr)
    return value
