"""From operations over expressions to operations over numbers, and the walks that passes need."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any, cast

from resnet_dsl.ir.expr import EXPR_TYPES, Expr, Value, evaluate, names
from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.program import SymbolicOp


@cache
def _field_names(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast(Any, kind)))


def map_expressions(op: SymbolicOp, change: Callable[[Expr], object]) -> dict[str, object]:
    """The fields of `op` that hold expressions, each after `change`."""
    changed: dict[str, object] = {}
    kind: Any = type(op)
    for name in _field_names(kind):
        value = getattr(op, name)
        if isinstance(value, EXPR_TYPES):
            changed[name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], EXPR_TYPES):
            changed[name] = tuple(change(cast(Expr, item)) for item in value)
    return changed


def concrete(op: SymbolicOp, env: Mapping[str, Value]) -> ConcreteOp:
    """`op` with every expression evaluated. Raises ExprError where one has no value."""
    changed = map_expressions(op, lambda tree: evaluate(tree, env))
    return cast(ConcreteOp, replace(cast(Any, op), **changed) if changed else op)


def rewritten(op: SymbolicOp, change: Callable[[Expr], Expr]) -> SymbolicOp:
    """`op` with every expression rewritten."""
    changed = map_expressions(op, change)
    return cast(SymbolicOp, replace(cast(Any, op), **changed) if changed else op)


def free_names(op: SymbolicOp) -> frozenset[str]:
    """The names that the expressions of `op` read."""
    found: set[str] = set()

    def note(tree: Expr) -> Expr:
        found.update(names(tree))
        return tree

    map_expressions(op, note)
    return frozenset(found)
