"""Batch normalisation folded into the convolution before it (inference only: statistics are
constants).

The normalisation of y = W * x + b is, per output channel, with γ its weight, β its bias, μ and σ²
its statistics,

    γ (y - μ) / sqrt(σ² + eps) + β  =  (W γ/s) * x  +  (β + (b - μ) γ/s),      s = sqrt(σ² + eps)

so the convolution takes the weight W γ/s and the bias β + (b - μ) γ/s (b = 0 where it had none).
Zero padding does not disturb this, since the sum over x is linear and the constant term is added
after it.

Refused, with the reason, where it would change another result:
1. what comes before is no convolution (a pre-activation network normalises sums);
2. the convolution's result is read elsewhere too;
3. the convolution's result is an output or a feature of the graph;
4. the convolution's weights are shared with another node;
5. the convolution has been folded already (two normalisations in a row).

Requires: a verified graph. Ensures: same outputs up to rounding; a folded convolution has a bias,
its constants are `FoldedWeight` and `FoldedBias` under the names `<conv>.weight` and `<conv>.bias`,
and it keeps its name and element type. Arithmetic on weights is left to
`weights.store.materialise`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from resnet_dsl.ir.graph import Constant, FoldedBias, FoldedWeight, Graph, Node, Norm, Stored
from resnet_dsl.ir.ops import BatchNorm, Conv, FrozenBatchNorm
from resnet_dsl.passes.rewrite import renumbered, with_nodes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A normalisation (by node name) that stays, and why."""

    norm: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The folded graph, the names of the normalisations that are gone, and the refusals."""

    graph: Graph
    folded: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def fold_batchnorm(graph: Graph) -> Graph:
    """The graph with every normalisation folded that may be."""
    return fold(graph).graph


def fold(graph: Graph) -> FoldResult:
    """Fold, and say what was folded and what was refused."""
    readers = Counter(value for node in graph.nodes for value in node.inputs)
    kept = {graph.output, *(feature.value for feature in graph.features)}
    uses = Counter(constant.name for node in graph.nodes for constant in node.constants)

    values = [0]
    nodes: list[Node] = []
    folded: list[str] = []
    refusals: list[Refusal] = []
    for node in graph.nodes:
        inputs = tuple([values[value] for value in node.inputs])
        if isinstance(node.op, BatchNorm | FrozenBatchNorm):
            old = node.inputs[0]
            before = nodes[inputs[0] - 1] if inputs[0] else None
            reason = _refusal(before, readers[old], old in kept, uses)
            if before is not None and reason is None:
                nodes[inputs[0] - 1] = _fold_into(before, node, node.op)
                values.append(inputs[0])
                folded.append(node.name)
                continue
            refusals.append(Refusal(node.name, reason or ""))
        nodes.append(renumbered(node, inputs))
        values.append(len(nodes))
    return FoldResult(with_nodes(graph, nodes, values), tuple(folded), tuple(refusals))


def _refusal(before: Node | None, readers: int, kept: bool, uses: Counter[str]) -> str | None:
    if before is None or not isinstance(before.op, Conv):
        what = "the input" if before is None else f"{before.name} ({type(before.op).__name__})"
        return f"it normalises {what}, which is no convolution"
    if readers > 1:
        return f"the result of {before.name} is read elsewhere too"
    if kept:
        return f"the result of {before.name} is an output of the graph"
    for constant in before.constants:
        if uses[constant.name] > 1:
            return f"{constant.name} is shared with another node"
        if not isinstance(constant.source, Stored):
            return f"another normalisation is folded into {before.name} already"
    return None


def _fold_into(conv: Node, node: Node, op: BatchNorm[int] | FrozenBatchNorm[int]) -> Node:
    assert isinstance(conv.op, Conv)
    stored = [_stored(constant) for constant in node.constants]
    norm = Norm(stored[0], stored[1], stored[2], stored[3], op.eps)
    weight = conv.constants[0]
    bias = _stored(conv.constants[1]) if conv.op.bias else None
    folded_weight = replace(weight, source=FoldedWeight(_stored(weight), norm))
    folded_bias = replace(
        weight,
        name=weight.name.removesuffix("weight") + "bias",
        shape=(conv.op.out_channels,),
        source=FoldedBias(bias, norm),
    )
    return replace(
        conv,
        op=conv.op if conv.op.bias else replace(conv.op, bias=True),
        constants=(folded_weight, folded_bias),
    )


def _stored(constant: Constant) -> Stored:
    assert isinstance(constant.source, Stored)
    return constant.source
