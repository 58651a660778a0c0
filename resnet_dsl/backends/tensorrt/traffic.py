"""What a kernel reads and writes, in bytes for one image: each tensor once, in the type that the log gives it.

It is the least that has to go through memory. A kernel that takes every second pixel is counted as reading all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from resnet_dsl.backends.tensorrt.kernels import Kernel, KernelTensor
from resnet_dsl.ir.graph import Shape

TYPES: Mapping[str, tuple[str, float]] = {
    "Float": ("fp32", 4),
    "Half": ("fp16", 2),
    "BFloat16": ("bf16", 2),
    "FP8": ("fp8", 1),
    "FP4": ("fp4", 0.5),
    "Int8": ("int8", 1),
    "UInt8": ("uint8", 1),
    "Int4": ("int4", 0.5),
    "Bool": ("bool", 1),
    "Int32": ("int32", 4),
    "Int64": ("int64", 8),
}
"""Data types by the log's names: as people call them, and the bytes of an element."""


def short_type(name: str) -> str:
    """`fp16` of `Half`; an unknown type keeps its name."""
    return TYPES[name][0] if name in TYPES else name.lower()


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the log leaves open of tensors: `shapes` without the batch, by tensor, for symbolic heights and widths, and
    the batch of an engine that takes one batch only."""

    shapes: Mapping[str, Shape]
    batch: int | None = None

    def of(self, tensors: Iterable[KernelTensor]) -> int | None:
        """Bytes of tensors at batch 1, None where a size or a type is unknown."""
        total = 0.0
        for tensor in {tensor.name: tensor for tensor in tensors}.values():
            elements = self._elements(tensor)
            if elements is None or tensor.data_type not in TYPES:
                return None
            total += elements * TYPES[tensor.data_type][1]
        return int(total)

    def _elements(self, tensor: KernelTensor) -> int | None:
        if not tensor.shape:
            return 1
        first, *rest = tensor.shape
        if first in (-1, self.batch):
            first = 1
        if -1 in rest:
            known = self.shapes.get(tensor.name, ())
            if len(known) == 3 and len(rest) == 2:  # (C, H W)
                known = (known[0], known[1] * known[2])
            if len(known) != len(rest):
                return None
            rest = [size if size >= 0 else given for size, given in zip(rest, known, strict=True)]
        return first * prod(rest)


def result_shapes(
    kernels: Iterable[Kernel], made: Iterable[Shape | None], image: Shape | None
) -> dict[str, Shape]:
    """The shape of what each kernel writes: `made` by its last operation, or what it reads, where it only lays that
    out. `image` is what the network reads."""
    kernels = tuple(kernels)
    written = {tensor.name for kernel in kernels for tensor in kernel.outputs}
    found: dict[str, Shape] = {}
    for kernel, shape in zip(kernels, made, strict=True):
        for tensor in kernel.inputs:
            if image is not None and tensor.name not in written:
                found[tensor.name] = image
            shape = shape or found.get(tensor.name)
        if shape is not None:
            found |= {tensor.name: shape for tensor in kernel.outputs}
    return found
