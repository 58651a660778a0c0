"""The fusion report: every kernel of an engine with the blocks of the spec in it, and what was fused, with no GPU.

All of it is read off the builder's log; the graph gives it names. See `kernels` for the log's table, `fusion_kernels`
for which kernel computes what, `fusion_joins` for the residual additions and for what stands apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resnet_dsl.backends.tensorrt.fusion_joins import Apart, Join, joins_of, pairs_apart
from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel, Role, fuse
from resnet_dsl.backends.tensorrt.kernels import KernelTensor, read_bytes
from resnet_dsl.backends.tensorrt.operations import Operation, operations_of
from resnet_dsl.backends.tensorrt.parsed import parsed_operations
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.numbers import NARROW


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by the build log, None where it has no such line; activations and scratch are the largest profile's."""

    weights: int | None
    activations: int | None
    scratch: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """An engine in numbers. Bytes moved are those of activations at batch 1: `bytes_apart`, were every operation of the
    graph a kernel of its own; both None where a size is symbolic or unknown."""

    kernels: int
    roles: dict[Role, int]
    additions: int
    additions_fused: int
    norms: int
    """Batch and group normalisations that the graph has."""
    norms_alone: int
    """Those of them that no convolution's kernel computes."""
    convert: int
    """Kernels that only cast or lay out."""
    requantise: int
    """Kernels that only quantise, scale and round."""
    requantise_too: int
    """Kernels that do so beside an addition or a pooling, with no convolution in them."""
    narrow: int | None
    """Of int8 and fp8: convolutions and products that multiply in it, and are not turned back into wider numbers."""
    macs: int
    bytes_moved: int | None
    bytes_apart: int | None
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class FusionReport:
    """What became of a network's operations in an engine."""

    name: str
    precision: str
    rest: str | None
    """What is computed in wider numbers than `precision`, where something is."""
    product: str
    version: str
    targets: tuple[int, ...]
    kernels: tuple[FusedKernel, ...]
    joins: tuple[Join, ...]
    apart: tuple[Apart, ...]
    nowhere: tuple[str, ...]
    """Operations that no kernel names: the builder has done without them, or made them a view."""
    totals: Totals
    memory: Memory
    profile: int = 0
    """The number of the profile that these are the kernels of."""
    shapes: str = ""
    """What it takes, where there are others: `batch 1/8/64`."""

    @property
    def additions(self) -> tuple[Join, ...]:
        """The residual additions."""
        return tuple(item for item in self.joins if item.kind == "add")

    def lines(self) -> list[str]:
        """The report in a few lines for people."""
        from resnet_dsl.backends.tensorrt.fusion_table import summary

        return summary(self)

    def table(self) -> list[str]:
        """Every kernel, grouped by stage, and what stands apart; within 100 columns."""
        from resnet_dsl.backends.tensorrt.fusion_table import table

        return table(self)

    def svg(self) -> str:
        """The engine as a picture, the same text for the same report."""
        from resnet_dsl.backends.tensorrt.fusion_picture import picture

        return picture(self)

    def as_dict(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        return {
            "name": self.name,
            "precision": self.precision,
            "rest": self.rest,
            "product": self.product,
            "version": self.version,
            "targets": [f"sm{target}" for target in self.targets],
            "profile": self.profile,
            "shapes": self.shapes or None,
            "totals": asdict(self.totals),
            "memory": asdict(self.memory),
            "joins": [
                {**asdict(item), "matrices": list(item.matrices), "fused": item.fused}
                for item in self.joins
            ],
            "apart": [
                {**asdict(item), "titles": list(item.titles), "kernels": list(item.kernels)}
                for item in self.apart
            ],
            "nowhere": list(self.nowhere),
            "kernels": [_kernel(item) for item in self.kernels],
        }


def fusion_reports(graph: Graph | None, report: EngineReport) -> tuple[FusionReport, ...]:
    """What became of the graph's operations in each profile; none where the log has no table of kernels."""
    numbers = range(max(1, len(report.profiles)))
    found = [fusion_report(graph, report, number) for number in numbers]
    return tuple(item for item in found if item is not None)


def fusion_report(
    graph: Graph | None, report: EngineReport, profile: int = 0
) -> FusionReport | None:
    """What became of the graph's operations in one profile, by the engine's build log; None where the log has no table
    of kernels, or none for this profile.

    `graph` is the one that the ONNX file was written from. Without it, for a file of another's, the operations are
    those that the parser logged, and there are no blocks.
    """
    launched = [item for item in report.kernels or () if item.profile == profile]
    if not launched and (profile or report.kernels is None):
        return None
    log = [line.text for line in report.log]
    operations = parsed_operations(log) if graph is None else operations_of(graph)
    kernels = fuse(launched, operations, _batch(report, profile))
    joins = joins_of(kernels, operations)
    return FusionReport(
        name=report.engine.stem if graph is None else graph.name,
        precision=report.precision,
        rest=report.rest,
        product=report.product,
        version=report.version,
        targets=report.targets,
        kernels=kernels,
        joins=joins,
        apart=pairs_apart(kernels, operations),
        nowhere=_nowhere(kernels, operations.items),
        totals=_totals(kernels, joins, operations.items, report.precision),
        memory=Memory(
            weights=report.weight_memory,
            activations=report.scratch_memory,
            scratch=read_bytes(log, "Max Scratch Memory"),
        ),
        profile=profile,
        shapes=str(report.profiles[profile]) if len(report.profiles) > 1 else "",
    )


def _batch(report: EngineReport, profile: int) -> int | None:
    """The batch of a profile, or an engine, that takes one only."""
    if report.profiles:
        batch = report.profiles[profile].batch
        return batch.min if batch.min == batch.max else None
    shapes = [tensor.shape for tensor in report.inputs]
    return shapes[0][0] if shapes and shapes[0] and shapes[0][0] > 0 else None


def _totals(
    kernels: Sequence[FusedKernel],
    joins: Sequence[Join],
    operations: Sequence[Operation],
    precision: str,
) -> Totals:
    roles = Counter(item.role for item in kernels)
    additions = [item for item in joins if item.kind == "add"]
    in_matrix = {
        item.name for kernel in kernels if kernel.role == "matrix" for item in kernel.computes
    }
    norms = [item.name for item in operations if item.kind == "norm"]
    codes = [item for item in kernels if item.role == "matrix" and precision in item.reads_types]
    return Totals(
        kernels=len(kernels),
        roles=dict(sorted(roles.items())),
        additions=len(additions),
        additions_fused=sum(item.fused for item in additions),
        norms=len(norms),
        norms_alone=sum(name not in in_matrix for name in norms),
        convert=roles["convert"],
        requantise=roles["requantise"],
        requantise_too=sum(item.requantises and item.role != "requantise" for item in kernels),
        narrow=len(codes) if precision in NARROW else None,
        macs=sum(item.macs for item in kernels),
        bytes_moved=_sum([item.bytes_moved for item in kernels]),
        bytes_apart=_sum([item.bytes_moved for item in operations]) if operations else None,
        weight_bytes=sum(item.weight_bytes for item in kernels),
    )


def _nowhere(kernels: Sequence[FusedKernel], operations: Sequence[Operation]) -> tuple[str, ...]:
    found = {item.name for kernel in kernels for item in kernel.computes}
    return tuple(item.name for item in operations if item.name not in found)


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _kernel(item: FusedKernel) -> dict[str, Any]:
    intensity = item.intensity
    return {
        "number": item.number,
        "name": item.kernel.name,
        "kind": item.kernel.kind,
        "tactic": item.kernel.tactic,
        "role": item.role,
        "stage": item.stage,
        "blocks": list(item.blocks),
        "computes": [
            {"name": operation.name, "operation": operation.label, "block": operation.block}
            for operation in item.computes
        ],
        "prepares": [operation.name for operation in item.prepares],
        "finishes": [operation.name for operation in item.finishes],
        "nodes": list(item.kernel.nodes),
        "inputs": [_tensor(tensor) for tensor in item.kernel.inputs],
        "outputs": [_tensor(tensor) for tensor in item.kernel.outputs],
        "bytes_read": item.bytes_read,
        "bytes_written": item.bytes_written,
        "weight_bytes": item.weight_bytes,
        "macs": item.macs,
        "macs_per_byte": None if intensity is None else round(intensity, 3),
    }


def _tensor(tensor: KernelTensor) -> dict[str, Any]:
    return {**asdict(tensor), "shape": list(tensor.shape)}
