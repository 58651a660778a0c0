"""What a graph computes with: a precision, and what of the network keeps to a wider one.

One table of passes for every target: `fp16` and `bf16` are `precision`, `int8` and `fp8` are `quantize` and then, for
what stays in floating point, `precision` too. `tf32` is the fp32 graph; that its products may be rounded is said to the
builder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.manager import Pass
from resnet_dsl.passes.placement import NarrowType, Placement, Plan, plan
from resnet_dsl.passes.precision import HalfType, precision
from resnet_dsl.passes.quantize import quantize

Precision: TypeAlias = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
Rest: TypeAlias = Literal["fp32", "fp16", "bf16"]

HALF: Mapping[str, HalfType] = {"fp16": "float16", "bf16": "bfloat16"}
NARROW: Mapping[str, NarrowType] = {"int8": "int8", "fp8": "float8_e4m3fn"}


@dataclass(frozen=True)
class Numbers:
    """A precision, and what it needs. For int8 and fp8: `rest` is what else computes in, `placement` for which runtime,
    `ranges` the largest magnitude to keep of each value that `plan.ranges` names, and nodes in `floating` are not
    quantised. Nodes in `wide` compute in float32 where others compute in a half type."""

    precision: Precision = "fp32"
    rest: Rest = "fp32"
    placement: Placement = "onnxruntime"
    ranges: Mapping[str, float] = field(default_factory=dict)
    floating: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()

    @property
    def half(self) -> HalfType | None:
        """The half type that floating-point values are in, if any."""
        return HALF.get(self.rest if self.precision in NARROW else self.precision)

    def plan(self, graph: Graph) -> Plan | None:
        """What is quantised of a float32 graph; None where nothing is."""
        narrow = NARROW.get(self.precision)
        return None if narrow is None else plan(graph, narrow, self.placement, self.floating)

    def passes(self) -> list[Pass]:
        """The passes that take a float32 graph to these numbers."""
        found = []
        if self.precision in NARROW:
            found.append(Pass("quantize", self._quantize))
        if self.half is not None:
            found.append(Pass("precision", partial(precision, dtype=self.half, wide=self.wide)))
        return found

    def _quantize(self, graph: Graph) -> Graph:
        found = self.plan(graph)
        return graph if found is None else quantize(graph, found, self.ranges)
