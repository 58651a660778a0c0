"""A graph described: one row a stage, and totals. The conventions are those of the modules beside
this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resnet_dsl.analysis.depth import depths
from resnet_dsl.analysis.macs import elementwise_operations_per_node, macs_per_node
from resnet_dsl.analysis.memory import activation_memory
from resnet_dsl.analysis.parameters import ParameterCount, parameters_per_node
from resnet_dsl.analysis.receptive import ReceptiveField, receptive_fields
from resnet_dsl.ir.graph import Graph, Node, Shape

CONVENTIONS = {
    "batch": "1",
    "layers": "convolutions and linear layers on the longest path",
    "parameters": "numbers that training moves; running statistics are buffers",
    "weight_bytes": "parameters and buffers in their element types",
    "macs": "multiply-adds of convolutions and linear layers, which He et al. 2015 print as FLOPs",
    "flops_2x_macs": "2 × macs",
    "elementwise_operations": "normalisation, activation, joins, pooling and biases; never part of macs",
    "activation_bytes_training": "tensors that the backward pass reads, each once",
    "activation_bytes_inference_peak": "largest sum of live tensors, elementwise operations in place",
    "receptive_field": "of the stage's last tensor, not cut at the image's edge",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One stage (or the whole network): `output` is its last tensor's shape without the batch,
    `blocks` the innermost block calls in it, `layers` what it adds to the network's depth. Bytes
    and MACs are at batch 1.
    """

    name: str
    output: Shape
    blocks: int
    layers: int
    parameters: int
    buffers: int
    weight_bytes: int
    macs: int
    elementwise_operations: int
    activation_bytes_training: int
    activation_bytes_inference_peak: int
    receptive_field: ReceptiveField

    @property
    def flops_2x_macs(self) -> int:
        return 2 * self.macs

    def as_dict(self) -> dict[str, Any]:
        """A JSON object; receptive fields in pixels of the image."""
        field = self.receptive_field
        return {
            "name": self.name,
            "output_shape": list(self.output),
            "blocks": self.blocks,
            "layers": self.layers,
            "parameters": self.parameters,
            "buffers": self.buffers,
            "weight_bytes": self.weight_bytes,
            "macs": self.macs,
            "flops_2x_macs": self.flops_2x_macs,
            "elementwise_operations": self.elementwise_operations,
            "activation_bytes_training": self.activation_bytes_training,
            "activation_bytes_inference_peak": self.activation_bytes_inference_peak,
            "receptive_field": {
                "height": field.size[0],
                "width": field.size[1],
                "vertical_jump": field.jump[0],
                "horizontal_jump": field.jump[1],
                "whole_input": field.whole,
            },
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """`input` is (C, H, W); `rows` are in the order of the graph's groups; `total` is named as the
    network.
    """

    name: str
    doc: str
    input: Shape
    rows: tuple[Row, ...]
    total: Row
    spec_hash: str = ""

    def as_dict(self) -> dict[str, Any]:
        """A JSON object: stages, totals, and the conventions that the keys follow."""
        return {
            "name": self.name,
            "doc": self.doc,
            "spec_sha256": self.spec_hash,
            "input_shape": list(self.input),
            "stages": [row.as_dict() for row in self.rows],
            "total": self.total.as_dict(),
            "conventions": dict(CONVENTIONS),
        }


def describe(graph: Graph) -> Summary:
    """Read everything off the graph, in time linear in its size. Nodes without a group form a row
    named "".
    """
    parameters = parameters_per_node(graph)
    macs = macs_per_node(graph)
    elementwise = elementwise_operations_per_node(graph)
    memory = activation_memory(graph)
    fields = receptive_fields(graph)
    depth = depths(graph)

    def row(name: str, members: list[int], last: int, before: int) -> Row:
        count = sum((parameters[i] for i in members), ParameterCount())
        return Row(
            name=name,
            output=graph.nodes[last].shape,
            blocks=_count_blocks(graph.nodes[i] for i in members),
            layers=depth[last] - before,
            parameters=count.trainable,
            buffers=count.buffers,
            weight_bytes=count.bytes,
            macs=sum(macs[i] for i in members),
            elementwise_operations=sum(elementwise[i] for i in members),
            activation_bytes_training=sum(memory.training[i] for i in members),
            activation_bytes_inference_peak=max(memory.live[i] for i in members),
            receptive_field=fields[last],
        )

    groups: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        groups.setdefault(node.group, []).append(index)
    rows: list[Row] = []
    before = 0
    for name, members in groups.items():
        rows.append(row(name, members, members[-1], before))
        before = depth[members[-1]]
    total = row(graph.name, list(range(len(graph.nodes))), graph.output - 1, 0)
    return Summary(graph.name, graph.doc, graph.input, tuple(rows), total, graph.spec_hash)


def _count_blocks(nodes: Iterable[Node]) -> int:
    """Blocks that stand in no other block: those that a stage's depth counts."""
    paths = {node.block for node in nodes if node.block}
    return sum(not _stands_in_another(path, paths) for path in paths)


def _stands_in_another(path: str, paths: set[str]) -> bool:
    holder = path.rpartition(".")[0]
    while holder:
        if holder in paths:
            return True
        holder = holder.rpartition(".")[0]
    return False
