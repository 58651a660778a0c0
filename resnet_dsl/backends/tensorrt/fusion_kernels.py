"""Which operations each kernel of an engine computes, and what it moves.

The metadata of a kernel names the ONNX nodes that it came from, which is more than what it computes: the kernel that
lays out the image names the convolution behind it, and one that scales an int8 result the convolution before. So each
operation has one home:

1. a convolution or matrix product is computed in the last kernel that names it and multiplies matrices;
2. a cast, a quantisation and its inverse are computed wherever they are named, since each reader may do its own;
3. anything else is computed in the last kernel that names it.

A kernel `prepares` what is named before its home, and `finishes` what is named after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from resnet_dsl.backends.tensorrt.kernels import Kernel, KernelTensor
from resnet_dsl.backends.tensorrt.operations import JOINS, Kind, Operation, Operations
from resnet_dsl.backends.tensorrt.traffic import Sizes, result_shapes, short_type

Role: TypeAlias = Literal[
    "matrix", "join", "pool", "normalise", "requantise", "pointwise", "move", "convert", "unknown"
]
"""What a kernel is there for: the first of these that is in it. `requantise` scales and rounds what others multiplied,
`convert` only casts or lays out."""

_EVERYWHERE: frozenset[Kind] = frozenset({"cast", "quantise", "dequantise"})
_SCALING: frozenset[Kind] = frozenset({"quantise", "dequantise"})
_WEIGHTIEST: tuple[Kind, ...] = ("matrix", "add", "gate", "concat", "multiply")
_Named: TypeAlias = tuple[tuple[Operation, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FusedKernel:
    """A kernel with what it computes. Bytes are for one image (see `traffic`); None where a size is unknown."""

    number: int
    """From 1, in launch order."""
    kernel: Kernel
    role: Role
    computes: tuple[Operation, ...]
    prepares: tuple[Operation, ...]
    finishes: tuple[Operation, ...]
    strangers: tuple[str, ...]
    """ONNX nodes that belong to no operation known."""
    stage: str
    block: str
    """Where it belongs: the outermost block of its weightiest operation, or where its result is read."""
    bytes_read: int | None
    bytes_written: int | None
    weight_bytes: int

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of the spec whose operations it computes, in their order."""
        return tuple(dict.fromkeys(item.block for item in self.computes if item.block))

    @property
    def macs(self) -> int:
        return sum(item.macs for item in self.computes)

    @property
    def bytes_moved(self) -> int | None:
        if self.bytes_read is None or self.bytes_written is None:
            return None
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float | None:
        """Multiply-adds for each byte that is read or written for one image, weights included."""
        moved = self.bytes_moved
        return None if not moved else self.macs / (moved + self.weight_bytes)

    @property
    def requantises(self) -> bool:
        """Whether it scales or rounds, and multiplies no matrices."""
        return self.role != "matrix" and any(item.kind in _SCALING for item in self.computes)

    @property
    def reads_types(self) -> tuple[str, ...]:
        """The data types of what it reads."""
        return _types(self.kernel.inputs)

    @property
    def writes_types(self) -> tuple[str, ...]:
        return _types(self.kernel.outputs)


def fuse(
    kernels: Sequence[Kernel], operations: Operations, batch: int | None = None
) -> tuple[FusedKernel, ...]:
    """Each kernel with its operations, in launch order, in time linear in the size of the log. `batch` is that of an
    engine that takes one batch only."""
    named = [_named(kernel, operations) for kernel in kernels]
    homes = _homes(kernels, named)
    computes = [
        tuple(item for item in items if item.kind in _EVERYWHERE or homes[item.name] == place)
        for place, (items, _) in enumerate(named)
    ]
    made = [items[-1].shape if items else None for items in computes]
    sizes = Sizes(result_shapes(kernels, made, operations.image), batch)
    found = []
    for place, (kernel, (items, strangers)) in enumerate(zip(kernels, named, strict=True)):
        others = [item for item in items if item not in computes[place]]
        finishes = tuple(item for item in others if homes[item.name] < place)
        found.append(
            FusedKernel(
                number=place + 1,
                kernel=kernel,
                role=_role(kernel, computes[place], finishes, strangers),
                computes=computes[place],
                prepares=tuple(item for item in others if homes[item.name] > place),
                finishes=finishes,
                strangers=strangers,
                stage="",
                block="",
                bytes_read=sizes.of(kernel.inputs),
                bytes_written=sizes.of(kernel.outputs),
                weight_bytes=sizes.of(kernel.constants) or 0,
            )
        )
    return _placed(found, operations)


def homes(kernels: Sequence[FusedKernel]) -> dict[str, FusedKernel]:
    """The kernel that computes each operation, by its name: the last, where several do."""
    return {item.name: kernel for kernel in kernels for item in kernel.computes}


def writers(kernels: Sequence[FusedKernel]) -> dict[str, FusedKernel]:
    """The kernel that writes each tensor, by its name."""
    return {tensor.name: kernel for kernel in kernels for tensor in kernel.kernel.outputs}


def _named(kernel: Kernel, operations: Operations) -> _Named:
    """The operations that a kernel names, each once, in the network's order; and the nodes that are no operation's."""
    found: dict[str, Operation] = {}
    strangers = []
    for node in kernel.nodes:
        operation = operations.of_node(node)
        if operation is None:
            strangers.append(node)
        else:
            found[operation.name] = operation
    order = operations.places
    return tuple(sorted(found.values(), key=lambda item: order[item.name])), tuple(strangers)


def _homes(kernels: Sequence[Kernel], named: Sequence[_Named]) -> dict[str, int]:
    """The place of the kernel that computes each operation."""
    last: dict[str, int] = {}
    multiplied: dict[str, int] = {}
    for place, (kernel, (items, _)) in enumerate(zip(kernels, named, strict=True)):
        matrix = kernel.multiplies_matrices
        for item in items:
            last[item.name] = place
            if item.kind == "matrix" and matrix:
                multiplied[item.name] = place
    return last | multiplied


def _role(
    kernel: Kernel,
    computes: Sequence[Operation],
    finishes: Sequence[Operation],
    strangers: Sequence[str],
) -> Role:
    kinds = {item.kind for item in computes}
    if "matrix" in kinds:
        return "matrix"
    if kinds & JOINS:
        return "join"
    if "pool" in kinds:
        return "pool"
    if "norm" in kinds:
        return "normalise"
    if kinds & _SCALING:
        return "requantise"
    if kinds & {"activation", "other"} or any(item.kind == "matrix" for item in finishes):
        return "pointwise"
    if "move" in kinds:
        return "move"
    if strangers:
        return "matrix" if kernel.multiplies_matrices else "unknown"
    return "convert"


def _types(tensors: Sequence[KernelTensor]) -> tuple[str, ...]:
    """Each type once; a vector beside tensors with a batch is a counter or scratch, and no value of the network."""
    values = [item for item in tensors if len(item.shape) > 1] or tensors
    return tuple(dict.fromkeys(short_type(item.data_type) for item in values))


def _lightness(item: Operation) -> int:
    if item.kind in _WEIGHTIEST:
        return _WEIGHTIEST.index(item.kind)
    return len(_WEIGHTIEST) + (item.kind == "dequantise")


def _placed(found: Sequence[FusedKernel], operations: Operations) -> tuple[FusedKernel, ...]:
    """Each with its stage and block: those of its weightiest operation, or of what reads its result."""
    read: dict[str, tuple[str, str]] = {}
    placed = []
    for item in reversed(found):
        named = [*sorted(item.computes, key=_lightness), *item.prepares, *item.finishes]
        place = next(((one.stage, one.block) for one in named if one.stage or one.block), None)
        if place is None:
            readers = (read[one.name] for one in item.kernel.outputs if one.name in read)
            place = next(readers, ("", ""))
        stage, block = place
        read |= {tensor.name: place for tensor in item.kernel.inputs}
        placed.append(replace(item, stage=stage, block=operations.outermost(block)))
    return tuple(reversed(placed))
