"""The typing rules. `infer` applies them to an expression, `evaluate` to the values as it goes.

int op int -> int, with a float -> float          + - *
numbers -> float                                  /
integers -> int                                   // %
two numbers, two strings or two truths -> bool    == !=
numbers -> bool                                   < <= > >=
truths -> bool                                    and or not
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from resnet_dsl.ir.expr.printing import to_source
from resnet_dsl.ir.expr.tree import (
    FUNCTIONS,
    MAX_DEPTH,
    Binary,
    Conditional,
    Expr,
    ExprError,
    Invoke,
    Literal,
    Name,
    TypeName,
    Unary,
    too_deep,
    type_of,
)

_SPOKEN: Mapping[TypeName, str] = {
    "int": "an integer",
    "float": "a real number",
    "bool": "true or false",
    "str": "a string",
}


def infer(expr: Expr, types: Mapping[str, TypeName]) -> TypeName:
    """The type of an expression whose names have `types`.

    Raises ExprError, which holds the part at fault.
    """
    return _infer(expr, types, 0)


def _infer(expr: Expr, types: Mapping[str, TypeName], depth: int) -> TypeName:
    if depth > MAX_DEPTH:
        raise too_deep()
    depth += 1
    match expr:
        case Literal(value):
            return type_of(value)
        case Name(name):
            if name not in types:
                raise unknown_name(expr, types)
            return types[name]
        case Unary(_, operand):
            return unary_type(expr, _infer(operand, types, depth))
        case Binary(_, left, right):
            return binary_type(expr, _infer(left, types, depth), _infer(right, types, depth))
        case Conditional(then, test, other):
            condition_type(expr, _infer(test, types, depth))
            first, second = _infer(then, types, depth), _infer(other, types, depth)
            if first == second:
                return first
            if _is_number(first) and _is_number(second):
                return "float"
            raise ExprError(
                f"the branches of `{to_source(expr)}` do not go together: "
                f"`{to_source(then)}` is {_SPOKEN[first]}, "
                f"`{to_source(other)}` is {_SPOKEN[second]}",
                expr,
                "give both branches the same type",
            )
        case Invoke(_, arguments):
            return call_type(expr, [_infer(item, types, depth) for item in arguments])
        case _:
            assert_never(expr)


def unary_type(expr: Unary, operand: TypeName) -> TypeName:
    if expr.op == "not":
        return _want_truth("not", expr.operand, operand)
    return _want_number("-", expr.operand, operand)


def binary_type(expr: Binary, left: TypeName, right: TypeName) -> TypeName:
    op = expr.op
    match op:
        case "+" | "-" | "*":
            _want_number(op, expr.left, left)
            _want_number(op, expr.right, right)
            return "float" if "float" in (left, right) else "int"
        case "/":
            _want_number(op, expr.left, left)
            _want_number(op, expr.right, right)
            return "float"
        case "//" | "%":
            hint = (
                "write `floor(a / b)`" if op == "//" else "use integers, or `a - b * floor(a / b)`"
            )
            _want_integer(op, expr.left, left, hint)
            return _want_integer(op, expr.right, right, hint)
        case "==" | "!=":
            if left == right or (_is_number(left) and _is_number(right)):
                return "bool"
            raise ExprError(
                f"`{to_source(expr)}` compares {_SPOKEN[left]} with {_SPOKEN[right]}",
                expr,
                "compare values of one type",
            )
        case "<" | "<=" | ">" | ">=":
            _want_number(op, expr.left, left)
            _want_number(op, expr.right, right)
            return "bool"
        case "and" | "or":
            _want_truth(op, expr.left, left)
            return _want_truth(op, expr.right, right)
        case _:
            assert_never(op)


def condition_type(expr: Conditional, test: TypeName) -> None:
    _want_truth("if", expr.test, test)


def call_type(expr: Invoke, arguments: Sequence[TypeName]) -> TypeName:
    function = expr.function
    if function not in FUNCTIONS:
        raise ExprError(f"unknown function `{function}`", expr)
    check_arity(expr)
    for part, kind in zip(expr.arguments, arguments, strict=True):
        _want_number(function, part, kind)
    match function:
        case "min" | "max" | "abs":
            return "float" if "float" in arguments else "int"
        case "floor" | "ceil" | "round" | "int":
            return "int"
        case "sqrt":
            return "float"
        case "make_divisible":
            return _want_integer(function, expr.arguments[1], arguments[1], None)
        case _:
            assert_never(function)


def check_arity(expr: Invoke) -> None:
    """Raises ExprError where a function has too few or too many arguments."""
    fewest, most = FUNCTIONS[expr.function]
    given = len(expr.arguments)
    if given < fewest or (most is not None and given > most):
        wanted = (
            f"{'at least ' if most is None else ''}{fewest} argument{'s' if fewest > 1 else ''}"
        )
        raise ExprError(f"`{expr.function}` takes {wanted}, {given} given", expr)


def unknown_name(expr: Name, known: Iterable[str]) -> ExprError:
    import difflib  # only where something is wrong already

    near = difflib.get_close_matches(expr.id, list(known), n=1)
    hint = f"did you mean `{near[0]}`?" if near else None
    if hint is None and (listed := sorted(known)):
        hint = "known here: " + ", ".join(f"`{name}`" for name in listed)
    return ExprError(f"unknown name `{expr.id}`", expr, hint)


def _is_number(kind: TypeName) -> bool:
    return kind in ("int", "float")


def _want_number(user: str, part: Expr, kind: TypeName) -> TypeName:
    if not _is_number(kind):
        raise _refusal(user, "numbers", part, kind)
    return kind


def _want_integer(user: str, part: Expr, kind: TypeName, hint: str | None) -> TypeName:
    if kind != "int":
        raise _refusal(user, "integers", part, kind, hint if kind == "float" else None)
    return kind


def _want_truth(user: str, part: Expr, kind: TypeName) -> TypeName:
    if kind != "bool":
        hint = f"write `{to_source(Binary('!=', part, Literal(0)))}`" if _is_number(kind) else None
        raise _refusal(user, "true or false", part, kind, hint)
    return kind


def _refusal(
    user: str, wanted: str, part: Expr, kind: TypeName, hint: str | None = None
) -> ExprError:
    return ExprError(
        f"`{user}` takes {wanted}, but `{to_source(part)}` is {_SPOKEN[kind]}", part, hint
    )
