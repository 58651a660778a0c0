"""A target beside the reference: five questions, from its making to its results.

1. passes: without any rounding, does the target's graph compute what the spec says?
2. weights: is each of its constants what the weights make it, but for rounding?
3. arithmetic: is each value what the operation makes of the target's own operands, but for rounding?
4. values: are the ends of its blocks as near to the reference as rounding explains?
5. result: is the output, computed as the target is used, as near?

Each names the first spec block that departs. The first three do not accumulate errors, so that they find what is wrong
where it is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Constant, Graph
from resnet_dsl.ir.ops import Cast, Dequantize, Quantize
from resnet_dsl.verify.ends import counterparts
from resnet_dsl.verify.exact import computed, departures, exact
from resnet_dsl.verify.findings import Compared, Finding, Proof, Question
from resnet_dsl.verify.measure import Measured, distance, measure
from resnet_dsl.verify.reference import Reference
from resnet_dsl.verify.rounding import FLOAT32, UNITS
from resnet_dsl.verify.spread import Spread, spread
from resnet_dsl.verify.targets import Target
from resnet_dsl.verify.walk import Step, computing, in_step


def prove(target: Target, reference: Reference) -> Proof:
    """Ask the five questions of a target."""
    with torch.inference_mode():
        findings = [*_passes(target.graph, reference), *_weights(target, reference)]
        try:
            values = target.inner(reference.images)
            target.logits(reference.images[:1])
        except CompileError as error:
            if error.diagnostics[0].code not in _CANNOT_RUN:
                raise
            return Proof(target.about, _why(error), findings=findings)
        found = Proof(target.about, findings=findings)
        _arithmetic(target, reference, values, found)
        _values(target, reference, values, found)
    return found


_CANNOT_RUN = ("RD681", "RD692")


def _why(error: CompileError) -> str:
    """What a runtime says of what it cannot run, without its own codes."""
    (diagnostic, *_) = error.diagnostics
    return re.sub(r"^\[.*?\] : \d+ : \w+ : ", "", diagnostic.why or diagnostic.message)


def _passes(graph: Graph, reference: Reference) -> list[Finding]:
    """The target's graph with exact weights, and without casts and codes, must be the reference, block for block from
    the reference's own values, but for the rounding of float64, which is 2**-29 of that of float32; folding takes a
    few operations more, for which 16 is room."""
    if graph == reference.graph:
        return []
    ends = reference.spreads
    meaning = {
        own: name for own, name in counterparts(graph, reference.graph).items() if name in ends
    }

    def known(name: str) -> Tensor | None:
        return ends[meaning[name]].exact if name in meaning else None

    numbers = partial(_exact, reference)
    steps = in_step(
        _without_codes(graph), numbers, reference.images, known, FLOAT32, reference.tick
    )
    for step in steps:
        off = (step.wanted - step.found).abs()
        room = 0.0 if step.error is None else 16 * 2.0**-29 * step.error.peak.double()
        if not bool((off <= room).all()):
            block = reference.ends[meaning[step.node.name]]
            return [
                Finding(
                    "passes",
                    block,
                    step.node.name,
                    float((off / (room + 1e-300)).max()),
                    f"the graph that was compiled computes something else than the spec says in `{block}`",
                )
            ]
    return []


def _exact(reference: Reference, constant: Constant) -> Tensor:
    return exact(constant, reference.weights)


def _without_codes(graph: Graph) -> Graph:
    """The graph with nothing that rounds."""
    from dataclasses import replace

    nodes = tuple(
        replace(node, op=Cast("float32"), dtype="float32")
        if isinstance(node.op, Quantize | Dequantize | Cast)
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _weights(target: Target, reference: Reference) -> list[Finding]:
    """Constants that folding or rounding has made wrong, and those that the target does not hold as they were made."""
    weights = reference.weights
    return [
        Finding(
            "weights",
            item.block,
            item.name,
            item.ratio,
            f"{item.wrong:,} of {item.numbers:,} numbers of `{item.name}` are not what the weights make them",
        )
        for item in (*departures(target.graph, weights), *target.differing(weights))
    ]


def _arithmetic(
    target: Target, reference: Reference, values: Mapping[str, Tensor], found: Proof
) -> None:
    numbers = partial(_computed, reference)
    for step in in_step(
        target.graph, numbers, reference.images, values.get, target.arithmetic, reference.tick
    ):
        measured = measure(step)
        found.steps.append(measured)
        if not measured.holds:
            found.findings.append(_off(step, measured))


def _off(step: Step, measured: Measured) -> Finding:
    node = step.node
    worst = f"{measured.largest:.2g} off, where {measured.largest_bound:.2g} is the most"
    if measured.of_peak <= 1:
        worst = f"channel {measured.channel} is off by {measured.of_rms:.2g} times what rounding explains"
    largest, unit = float(step.wanted.abs().max()), UNITS[computing(node)]
    if not bool(torch.isfinite(step.found).all()):
        worst = "it holds infinity, or what is no number"
        if largest > unit.largest:
            worst = f"it reaches {largest:.3g}, and {unit.name} ends at {unit.largest:.5g}"
    if step.found.shape != step.wanted.shape:
        worst = f"its shape is {tuple(step.found.shape)} and not {tuple(step.wanted.shape)}"
    return Finding(
        "arithmetic",
        measured.block or measured.group,
        node.name,
        measured.ratio,
        f"`{node.name}` ({type(node.op).__name__}) is not what it makes of its operands: {worst}",
    )


def _computed(reference: Reference, constant: Constant) -> Tensor:
    return computed(constant, reference.weights)


def _values(
    target: Target, reference: Reference, values: Mapping[str, Tensor], found: Proof
) -> None:
    meaning = {
        own: name
        for own, name in counterparts(target.graph, reference.graph).items()
        if name in reference.ends
    }
    meaning = {own: name for name, own in {name: own for own, name in meaning.items()}.items()}
    spreads = reference.spreads
    if target.graph != reference.graph or target.arithmetic != reference.arithmetic:
        spreads = spread(
            target.graph,
            partial(_computed, reference),
            reference.images,
            target.arithmetic,
            lambda node: node.name in meaning,
            reference.tick,
        )
    last = target.graph.nodes[target.graph.output - 1].name
    for own, end in spreads.items():
        name = meaning[own]
        if own in values:
            compared = compare(name, reference, end, values[own])
            found.compared.append(compared)
            _judge("values", compared, found)
    result = compare(
        reference.final, reference, spreads[last], target.logits(reference.images), deployed=True
    )
    found.compared.append(result)
    _judge("result", result, found)


def compare(
    name: str, reference: Reference, end: Spread, value: Tensor, *, deployed: bool = False
) -> Compared:
    """A target's value beside the reference's of a name."""
    wanted = reference.spreads[name].exact
    rms_bound, largest_bound = end.bounds(wanted)
    off = distance(value.to(torch.float64), wanted)
    return Compared(
        name,
        reference.ends[name],
        float(wanted.square().mean().sqrt()),
        float(off.max()),
        largest_bound,
        float(off.square().mean().sqrt()),
        rms_bound,
        deployed,
    )


def _judge(question: Question, compared: Compared, found: Proof) -> None:
    if compared.ratio <= 1 or any(item.question == question for item in found.findings):
        return
    found.findings.append(
        Finding(
            question,
            compared.block,
            compared.name,
            compared.ratio,
            f"`{compared.name}` is off by {compared.largest:.2g}, where rounding explains "
            f"{compared.largest_bound:.2g}",
        )
    )
