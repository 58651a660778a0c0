"""Through a graph in float64, in step with a target.

Each value is computed from its operands. Where the target's own value is known, the two are compared, and what follows
is computed from the target's: so an error is found where it is made, and does not travel. Where it is not known, what
the value may be off by goes along, to the next one that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_dsl.ir.graph import Constant, FloatType, Graph, Node, floating
from resnet_dsl.ir.ops import Quantize
from resnet_dsl.verify.bounds import error_of
from resnet_dsl.verify.error import Error
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.rounding import UNITS, Arithmetic

Numbers = Callable[[Constant], Tensor]
Known = Callable[[str], Tensor | None]
Tick = Callable[[int], None]
"""Told of every so many operations that are done."""


def silent(_: int) -> None:
    """Tell no one."""


@dataclass(frozen=True, slots=True)
class Step:
    """A value of which the target's own is known: what it must be, what it is (float64), and what it may be off by
    (None: not at all)."""

    node: Node
    wanted: Tensor
    found: Tensor
    error: Error | None


def last_reads(graph: Graph) -> dict[int, list[int]]:
    """For the number of each node, the values that nothing reads after it."""
    last: dict[int, int] = {}
    for number, node in enumerate(graph.nodes, start=1):
        for value in (*node.inputs, number):
            last[value] = number
    freed: dict[int, list[int]] = {}
    for value, number in last.items():
        freed.setdefault(number, []).append(value)
    return freed


def in_step(
    graph: Graph,
    numbers: Numbers,
    images: Tensor,
    known: Known,
    arithmetic: Arithmetic,
    tick: Tick = silent,
) -> Iterator[Step]:
    """Every value of the target that is `known` (by the name of its node), in order, beside what it must be."""
    freed = last_reads(graph)
    values: dict[int, tuple[Tensor, Error | None]] = {0: (images.to(torch.float64), None)}
    for number, node in enumerate(graph.nodes, start=1):
        operands = [values[value][0] for value in node.inputs]
        errors = [values[value][1] for value in node.inputs]
        constants = [numbers(item) for item in node.constants]
        wanted = apply(node.op, operands, constants)
        error = error_of(node.op, computing(node), operands, errors, constants, wanted, arithmetic)
        found = known(node.name)
        if found is None:
            values[number] = (wanted, error)
        elif found.shape != wanted.shape:  # what follows is computed from what it should be
            values[number] = (wanted, error)
            yield Step(node, wanted, found.to(torch.float64), error)
        else:
            values[number] = (found.to(torch.float64), None)
            if arithmetic.loose and node.dtype in ("float16", "bfloat16"):
                values[number] = (values[number][0], unrounded(values[number][0], node))
            yield Step(node, wanted, values[number][0], error)
        for value in freed.get(number, ()):
            del values[value]
        tick(1)


def unrounded(value: Tensor, node: Node) -> Error:
    """What a value of a half type may be off by if its reader takes what was before the rounding."""
    unit = UNITS[floating(node.dtype)]
    size = (unit.roundoff * value.abs() + unit.tiny).to(torch.float32)
    return Error(size, torch.zeros_like(size), size.square())


def computing(node: Node) -> FloatType:
    """The type that a node computes in; codes are computed in float32."""
    return "float32" if isinstance(node.op, Quantize) else floating(node.dtype)


def run(
    graph: Graph,
    numbers: Numbers,
    images: Tensor,
    kept: Callable[[Node], bool],
    tick: Tick = silent,
) -> dict[str, Tensor]:
    """The values of the nodes that are to be kept, by name, in float64."""
    freed = last_reads(graph)
    values = {0: images.to(torch.float64)}
    found: dict[str, Tensor] = {}
    for number, node in enumerate(graph.nodes, start=1):
        operands = [values[value] for value in node.inputs]
        values[number] = apply(node.op, operands, [numbers(item) for item in node.constants])
        if kept(node):
            found[node.name] = values[number]
        for value in freed.get(number, ()):
            del values[value]
        tick(1)
    return found
