"""The rows of the picture of an engine: one a block, or a stage without blocks, and one for blocks that are alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from resnet_dsl.backends.tensorrt.fusion_joins import Join
from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel

LONGEST = 12
"""How many kernels a row holds; more of one block go on in the next."""
SHOWN = 24
"""From how many rows on blocks that are alike are one row."""


@dataclass(frozen=True, slots=True)
class Row:
    """Kernels side by side, and how many blocks they stand for."""

    stage: str
    block: str
    kernels: tuple[FusedKernel, ...]
    joins: Mapping[int, tuple[Join, ...]]
    """What is added, multiplied or gated in each kernel, by its number."""
    times: int = 1

    @property
    def bytes(self) -> int:
        return sum(map(weight, self.kernels))


def weight(kernel: FusedKernel) -> int:
    """What a box is as wide as: the bytes that a kernel moves for one image, and its weights."""
    return (kernel.bytes_moved or 0) + kernel.weight_bytes


def idle(item: FusedKernel) -> bool:
    """Whether a kernel computes nothing that the network asks for."""
    return item.role in ("convert", "requantise")


def rows(kernels: Sequence[FusedKernel], joins: Sequence[Join]) -> tuple[Row, ...]:
    """The rows from the network's input to its output."""
    joined: dict[int, list[Join]] = {}
    for join in joins:
        if join.kernel is not None and join.kind != "concat":  # which costs a copy wherever it is
            joined.setdefault(join.kernel, []).append(join)
    found = [
        Row(
            stage,
            block,
            members,
            {item.number: tuple(joined[item.number]) for item in members if item.number in joined},
        )
        for (stage, block), items in groupby(kernels, lambda item: (item.stage, item.block))
        for members in _pieces(tuple(items))
    ]
    return tuple(found if len(found) <= SHOWN else _alike(found))


def _pieces(kernels: tuple[FusedKernel, ...]) -> Iterator[tuple[FusedKernel, ...]]:
    for start in range(0, len(kernels), LONGEST):
        yield kernels[start : start + LONGEST]


def _alike(found: Sequence[Row]) -> Iterator[Row]:
    """Runs of three and more rows of which only the names differ, as one row each."""
    for _, items in groupby(found, _looks):
        run = list(items)
        if len(run) < 3:
            yield from run
        else:
            first = run[0]
            yield replace(first, times=len(run))


def _looks(row: Row) -> tuple[object, ...]:
    """All that is drawn of a row but the name of its block."""
    return (
        row.stage,
        bool(row.block),
        tuple(
            (
                item.role,
                tuple(one.label for one in item.computes),
                item.reads_types,
                item.writes_types,
                weight(item),
                tuple((one.kind, one.fused) for one in row.joins.get(item.number, ())),
            )
            for item in row.kernels
        ),
    )
