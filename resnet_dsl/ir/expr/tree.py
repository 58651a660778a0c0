"""The nodes of an expression.

Nodes are immutable and hashable, and equal only if they mean the same: `Literal(1)`,
`Literal(1.0)` and `Literal(True)` are three different expressions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal as Choice
from typing import TypeAlias

Value: TypeAlias = int | float | bool | str
TypeName: TypeAlias = Choice["int", "float", "bool", "str"]
UnaryOp: TypeAlias = Choice["-", "not"]
BinaryOp: TypeAlias = Choice[
    "+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"
]
FunctionName: TypeAlias = Choice[
    "min", "max", "floor", "ceil", "round", "abs", "sqrt", "int", "make_divisible"
]

FUNCTIONS: Mapping[FunctionName, tuple[int, int | None]] = MappingProxyType(
    {
        "min": (2, None),
        "max": (2, None),
        "floor": (1, 1),
        "ceil": (1, 1),
        "round": (1, 1),
        "abs": (1, 1),
        "sqrt": (1, 1),
        "int": (1, 1),
        "make_divisible": (2, 2),
    }
)
"""The functions, each with the fewest and the most arguments that it takes (None: any number)."""

LARGEST_INT = 2**62
"""No integer of the language is larger: results fit the 64 bits that every target has."""

MAX_DEPTH = 200
MAX_NODES = 10_000


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. `literal` makes one of a value from outside, and refuses what cannot be said."""

    value: Value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter of the function that the expression stands in."""

    id: str


@dataclass(frozen=True, slots=True)
class Unary:
    op: UnaryOp
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    op: BinaryOp
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then if test else other`; only the branch taken is evaluated."""

    then: Expr
    test: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Invoke:
    """A call of one of `FUNCTIONS`."""

    function: FunctionName
    arguments: tuple[Expr, ...]


Expr: TypeAlias = Literal | Name | Unary | Binary | Conditional | Invoke
EXPR_TYPES = (Literal, Name, Unary, Binary, Conditional, Invoke)


class ExprError(Exception):
    """An expression without a value or a type. `expression` is the part at fault, if known."""

    def __init__(
        self, message: str, expression: Expr | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expression = expression
        self.hint = hint


def type_of(value: Value) -> TypeName:
    """The type of a value. Raises ExprError for what is no value of the language."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "str"
    raise ExprError(f"{value!r} is not a number, true, false or a string")


def literal(value: Value) -> Literal:
    """A constant. Raises ExprError for infinity, NaN, integers past `LARGEST_INT`, other types."""
    type_of(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ExprError(f"{value} is not a finite number")
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise ExprError("an integer is larger than 2 to the 62nd")
    return Literal(value)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The parts of an expression, left to right."""
    match expr:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Conditional(then, test, other):
            return (then, test, other)
        case Invoke(_, arguments):
            return arguments
        case _:
            return ()


def names(expr: Expr) -> frozenset[str]:
    """Every name that the expression mentions."""
    found: set[str] = set()
    seen: set[int] = set()  # a node may stand in many places of a substituted tree
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Name):
            found.add(node.id)
        elif id(node) not in seen:
            seen.add(id(node))
            pending.extend(children(node))
    return frozenset(found)


def too_deep() -> ExprError:
    return ExprError(f"the expression is nested more than {MAX_DEPTH} levels deep")


def check_size(expr: Expr) -> Expr:
    """The expression itself. Raises ExprError past MAX_DEPTH levels or MAX_NODES nodes."""
    level: Iterable[Expr] = (expr,)
    count = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Expr] = []
        for node in level:
            count += 1
            if count > MAX_NODES:
                raise ExprError(f"the expression has more than {MAX_NODES} parts")
            below.extend(children(node))
        if not below:
            return expr
        level = below
    raise too_deep()
