"""Zero-initialised residuals: a block begins as its shortcut (Goyal et al. 2017, section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from resnet_dsl.ir.ops import BatchNorm, Conv, FrozenBatchNorm, GroupNorm, Linear, Multiply
from resnet_dsl.ir.program import Apply, Call, Chain, Function, Statement, UseSlot

S = TypeVar("S", bound=Statement)


def zero_last_norm(
    statements: Sequence[S], since: int, functions: Mapping[str, Function]
) -> list[S] | None:
    """The statements with a weight of zero in the last normalisation from `since` on, where no
    layer follows it; None where there is none. Scaling by a block (squeeze-and-excitation) may
    follow: it leaves zeros as they are."""
    for index in range(len(statements) - 1, since - 1, -1):
        statement: Statement = statements[index]
        match statement:
            case Apply():
                if isinstance(statement.op, BatchNorm | FrozenBatchNorm | GroupNorm):
                    zeroed = replace(statement, op=replace(statement.op, gamma=0.0))
                    return [*statements[:index], zeroed, *statements[index + 1 :]]
                if isinstance(statement.op, Conv | Linear):
                    return None
            case Chain(members=members):
                inside = zero_last_norm(members, 0, functions)
                if inside is None:
                    return None
                changed = replace(statement, members=tuple(inside))
                return [*statements[:index], changed, *statements[index + 1 :]]
            case Call(function=name):
                if not _scales(functions[name]):
                    return None
            case UseSlot():
                return None
    return None


def _scales(function: Function) -> bool:
    last = function.body[function.result - 1]
    return isinstance(last, Apply) and isinstance(last.op, Multiply) and last.operands[0] == 0
