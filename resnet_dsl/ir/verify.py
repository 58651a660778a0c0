"""The graph's invariants, checked after every pass. A violation is a defect of the compiler, never
of a spec.

1. Values are in static single assignment order: a node reads the input or nodes before it.
2. Every node's shape is what `shapes.infer` says of its operands.
3. Every node's constants are its operation's parameters (`parameters.parameters`) in name and
   shape; a folded one stands where a stored one stood.
4. Element types agree: a node computes in a floating type, and its operands and constants have
   it, except for a Cast, whose type is its result's, a Quantize, whose result are codes of its type
   and whose operand is not, and a Dequantize, which is the other way round.
5. Node names are unique; constants of one name are one constant, so that shared weights are equal.
6. The output and the features are values of the graph; features have names of their own.
"""

from __future__ import annotations

from math import isfinite
from typing import get_args

from resnet_dsl.ir.graph import ConcreteOp, Constant, FloatType, Graph, Node, Shape
from resnet_dsl.ir.ops import Cast, Dequantize, Quantize
from resnet_dsl.ir.parameters import parameters
from resnet_dsl.ir.shapes import ShapeError, infer

FLOAT_TYPES = get_args(FloatType)


class VerificationError(Exception):
    """A broken invariant: after which pass, at which node (empty for the graph's own), and what."""

    def __init__(self, after: str, node: str, reason: str) -> None:
        self.after = after
        self.node = node
        self.reason = reason
        place = f"node {node!r}: " if node else ""
        super().__init__(f"after {after}: {place}{reason}" if after else f"{place}{reason}")


class Verifier:
    """Checks graphs and remembers what it has seen: a node that a pass left alone costs next to
    nothing again.
    """

    def __init__(self) -> None:
        # Keyed by identity, which the stored reference keeps from being reused.
        self._seen: dict[
            tuple[int, int, tuple[Shape, ...]], tuple[ConcreteOp, tuple[Constant, ...], Shape]
        ] = {}

    def verify(self, graph: Graph, after: str = "") -> None:
        """Raises VerificationError; `after` is the name of the pass that made the graph."""
        shapes: list[Shape] = [graph.input]
        dtypes: list[str] = ["float32"]
        names: set[str] = set()
        constants: dict[str, Constant] = {}
        for number, node in enumerate(graph.nodes, start=1):
            try:
                _check_links(node, number, dtypes, names)
                result = self._check_alone(node, tuple([shapes[value] for value in node.inputs]))
                if node.shape != result:
                    raise _BrokenError(
                        f"has the shape {node.shape}, but its operands make {result}"
                    )
                _check_constants_shared(node, constants)
            except (_BrokenError, ShapeError) as problem:
                raise VerificationError(after, node.name, str(problem)) from None
            shapes.append(node.shape)
            dtypes.append(node.dtype)
        _check_outputs(graph, after)

    def _check_alone(self, node: Node, inputs: tuple[Shape, ...]) -> Shape:
        key = (id(node.op), id(node.constants), inputs)
        known = self._seen.get(key)
        if known is None:
            result = infer(node.op, inputs)
            _check_parameters(node)
            known = self._seen[key] = (node.op, node.constants, result)
        return known[2]


def verify(graph: Graph, after: str = "") -> None:
    """Check every invariant; raises VerificationError naming the pass `after` and the node."""
    Verifier().verify(graph, after)


class _BrokenError(Exception):
    pass


def _check_links(node: Node, number: int, dtypes: list[str], names: set[str]) -> None:
    if not node.name or node.name in names:
        raise _BrokenError("has no name" if not node.name else "has the name of a node before it")
    names.add(node.name)
    for value in node.inputs:
        if not 0 <= value < number:
            raise _BrokenError(f"reads the value %{value}, which is not before it")
    if type(node.op) in (Cast, Quantize, Dequantize):
        _check_conversion(node, dtypes[node.inputs[0]])
        return
    if node.dtype not in FLOAT_TYPES:
        raise _BrokenError(f"computes in {node.dtype}, which is no floating type")
    for value in node.inputs:
        if dtypes[value] != node.dtype:
            raise _BrokenError(f"computes in {node.dtype}, but reads %{value} in {dtypes[value]}")


def _check_conversion(node: Node, read: str) -> None:
    match node.op:
        case Quantize(dtype, scale, zero) | Dequantize(dtype, scale, zero):
            codes, floats = (
                (node.dtype, read) if isinstance(node.op, Quantize) else (read, node.dtype)
            )
            if codes != dtype or floats not in FLOAT_TYPES:
                raise _BrokenError(f"is of {dtype}, but takes {read} to {node.dtype}")
            if not (isfinite(scale) and scale > 0):
                raise _BrokenError(f"has the scale {scale}")
            if zero not in ((0, 128) if dtype == "uint8" else (0,)):
                raise _BrokenError(f"has the zero point {zero}, in {dtype}")
        case Cast(dtype):
            if read not in FLOAT_TYPES:
                raise _BrokenError(f"casts {read}, which are codes")
            if dtype != node.dtype:
                raise _BrokenError(f"casts to {dtype}, but says that its result is {node.dtype}")
        case _:
            pass


def _check_parameters(node: Node) -> None:
    expected = [item for item in parameters(node.op) if item.dtype == "float32"]
    if len(expected) != len(node.constants):
        wanted = ", ".join(item.name for item in expected) or "none"
        raise _BrokenError(f"has {len(node.constants)} constants; its operation's are: {wanted}")
    for item, constant in zip(expected, node.constants, strict=True):
        if constant.name.rpartition(".")[2] != item.name:
            raise _BrokenError(f"has the constant {constant.name!r} in place of its {item.name}")
        if constant.shape != item.shape:
            raise _BrokenError(f"its {item.name} has the shape {constant.shape}, not {item.shape}")


def _check_constants_shared(node: Node, constants: dict[str, Constant]) -> None:
    for constant in node.constants:
        if constant.dtype != node.dtype:
            raise _BrokenError(f"computes in {node.dtype}, but {constant.name} is {constant.dtype}")
        other = constants.setdefault(constant.name, constant)
        if other is not constant and other != constant:
            raise _BrokenError(f"another node has another constant of the name {constant.name!r}")


def _check_outputs(graph: Graph, after: str) -> None:
    last = len(graph.nodes)
    if not 0 <= graph.output <= last:
        raise VerificationError(
            after, "", f"the output is %{graph.output}, but values end at %{last}"
        )
    seen: set[str] = set()
    for feature in graph.features:
        if not 0 <= feature.value <= last:
            raise VerificationError(
                after,
                "",
                f"the feature {feature.name!r} is %{feature.value}, but values end at %{last}",
            )
        if feature.name in seen:
            raise VerificationError(after, "", f"two features have the name {feature.name!r}")
        seen.add(feature.name)
