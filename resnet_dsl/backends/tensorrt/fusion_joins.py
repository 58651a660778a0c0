"""What was fused and what was not: every join of two branches, and every operation that the kernel before could hold.

The builder does not log why it keeps two operations apart. What is said here is what its table of kernels and the graph
show about the two; where they show nothing, that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel, homes, writers
from resnet_dsl.backends.tensorrt.operations import JOINS, Kind, Operation, Operations
from resnet_dsl.backends.tensorrt.traffic import short_type

UNSAID = "the log does not say why"
READ_ELSEWHERE = "another operation reads the same value, so it is written to memory in any case"
_CODES = frozenset({"Int8", "UInt8", "FP8", "FP4", "Int4"})
_FUSABLE: frozenset[Kind] = frozenset({"norm", "activation", "cast", "quantise", "move"})
_THROUGH: frozenset[Kind] = _FUSABLE | {"dequantise", "multiply"}


@dataclass(frozen=True, slots=True)
class Join:
    """Where two branches meet: an addition, product, gate or concatenation of the network."""

    name: str
    kind: Kind
    block: str
    kernel: int | None
    """The number of the kernel that computes it; None where none names it."""
    matrices: tuple[str, ...]
    """The convolutions and matrix products in the same kernel."""
    why: str
    """Why it is in no convolution's kernel, in words that fit all joins of that fate; empty where it is in one."""
    evidence: str
    """The operations and kernels that show it."""

    @property
    def fused(self) -> bool:
        return bool(self.matrices)


@dataclass(frozen=True, slots=True)
class Apart:
    """An operation that reads one value, in a later kernel than the operation that makes the value."""

    first: str
    second: str
    titles: tuple[str, str]
    kernels: tuple[int, int]
    why: str


def joins_of(kernels: Sequence[FusedKernel], operations: Operations) -> tuple[Join, ...]:
    """Every join, in the order of the network."""
    look = _Look(kernels, operations)
    found = []
    for item in operations.items:
        if item.kind not in JOINS:
            continue
        kernel = look.home.get(item.name)
        matrices = () if kernel is None or kernel.role != "matrix" else _matrices(kernel)
        why, evidence = ("", "") if matrices else _why_alone(look, item, kernel)
        number = None if kernel is None else kernel.number
        found.append(Join(item.name, item.kind, item.block, number, matrices, why, evidence))
    return tuple(found)


def pairs_apart(kernels: Sequence[FusedKernel], operations: Operations) -> tuple[Apart, ...]:
    """What the kernel before could have computed and did not, in the order of the network."""
    look = _Look(kernels, operations)
    readers = Counter(name for item in operations.items for name in dict.fromkeys(item.reads))
    found = []
    for item in operations.items:
        source = operations.named(item.reads[0]) if len(item.reads) == 1 else None
        if source is None or item.kind not in _FUSABLE:
            continue
        there, here = look.home.get(source.name), look.home.get(item.name)
        if there is None or here is None or source in here.computes:
            continue
        why = (
            _scaled(source, there, here)
            or (READ_ELSEWHERE if readers[source.name] > 1 else "")
            or _handed_over(look, there, here)
            or UNSAID
        )
        titles = (source.title, item.title)
        found.append(Apart(source.name, item.name, titles, (there.number, here.number), why))
    return tuple(found)


def reasons(items: Sequence[Apart]) -> list[tuple[int, tuple[str, str], str]]:
    """How many pairs of the same two operations there are for each reason, the most frequent first."""
    counts = Counter((item.titles, item.why) for item in items)
    return [(count, titles, why) for (titles, why), count in counts.most_common()]


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value comes from, by way of operations on each of its numbers: a convolution, a pooling, another join or,
    with None, the network's input; and the first operation after that."""

    source: Operation | None = None
    after: Operation | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of the kernels by operation and by tensor, and of the graph by operation."""

    kernels: Sequence[FusedKernel]
    operations: Operations
    home: dict[str, FusedKernel] = field(init=False)
    writer: dict[str, FusedKernel] = field(init=False)
    origin: dict[str, _Origin] = field(init=False)
    mean_of: dict[str, str] = field(init=False)
    """For what is computed from a pooled value alone: the value that was pooled last."""

    def __post_init__(self) -> None:
        origin: dict[str, _Origin] = {}
        mean_of: dict[str, str] = {}
        for item in self.operations.items:
            first = item.reads[0] if item.reads else ""
            before = origin.get(first, _Origin())
            through = item.kind in _THROUGH
            origin[item.name] = (
                _Origin(before.source, before.after or item) if through else _Origin(item)
            )
            if item.kind == "pool":
                mean_of[item.name] = first
            elif len(item.reads) == 1 and first in mean_of:
                mean_of[item.name] = mean_of[first]
        for name, value in (
            ("home", homes(self.kernels)),
            ("writer", writers(self.kernels)),
            ("origin", origin),
            ("mean_of", mean_of),
        ):
            object.__setattr__(self, name, value)

    def in_kernel(self, item: Operation) -> str:
        return f"{item.name} in kernel {self.home[item.name].number}"


def _matrices(kernel: FusedKernel) -> tuple[str, ...]:
    return tuple(item.name for item in kernel.computes if item.kind == "matrix")


def _why_alone(look: _Look, item: Operation, kernel: FusedKernel | None) -> tuple[str, str]:
    """Why a join is in no convolution's kernel, by what is seen of its operands, and what shows it."""
    if kernel is None:
        return "no kernel in the log names it", ""
    origins = [look.origin[name] for name in item.reads]
    branches = [
        (source, after)
        for source, after in ((one.source, one.after) for one in origins)
        if source is not None and source.kind == "matrix" and source.name in look.home
    ]
    if not branches:
        made = [one for name in item.reads if (one := look.operations.named(name)) is not None]
        return (
            "no operand is a convolution's result",
            ", ".join(f"{one.name} is {one.label}" for one in made),
        )
    for source, _ in branches:
        if said := _scaled(source, look.home[source.name], kernel):
            return said, look.in_kernel(source)
    for name in item.reads[1:]:
        if look.mean_of.get(name) == item.reads[0]:
            return "its other operand is computed from the mean of the first", f"{name}"
    for source, after in branches:
        if after is None or after.name not in look.home:
            continue
        if look.home[after.name] is not look.home[source.name]:
            said = f"between the convolution and it stands another operation, {after.title}"
            return said, f"{look.in_kernel(source)}, {look.in_kernel(after)}"
    source, _ = branches[0]
    return (
        _handed_over(look, look.home[source.name], kernel) or UNSAID,
        look.in_kernel(source),
    )


def _scaled(source: Operation, there: FusedKernel, here: FusedKernel) -> str:
    """A product of 8-bit numbers that is written as it is, and scaled and rounded in the next kernel."""
    if source.kind != "matrix" or there is here:
        return ""
    reads = [item.data_type for item in there.kernel.inputs if item.data_type in _CODES]
    taken = {item.name for item in here.kernel.inputs}
    wide = [
        item.data_type
        for item in there.kernel.outputs
        if item.data_type not in _CODES and item.name in taken
    ]
    if not reads or not wide:
        return ""
    narrow, written = short_type(reads[0]), short_type(wide[0])
    what = "convolution" if source.title == "conv" else source.title
    return f"the {what} multiplies in {narrow} and writes {written}, which the next kernel scales"


def _handed_over(look: _Look, there: FusedKernel, here: FusedKernel) -> str:
    """What is seen on the way from one kernel to the next: a kernel between them, another type, another layout."""
    made = {item.name for item in there.kernel.outputs}
    for tensor in here.kernel.inputs:
        middle = look.writer.get(tensor.name)
        if middle is None or middle.role != "convert":
            continue
        if made & {item.name for item in middle.kernel.inputs}:
            return "a kernel that only converts stands between"
    before, after = there.writes_types, here.writes_types
    if before and after and not set(before) & set(after):
        return f"its kernel changes the type, {'/'.join(before)} to {'/'.join(after)}"
    before, after = _formats(there), _formats(here)
    if before and after and not set(before) & set(after):
        return f"its kernel changes the layout, {'/'.join(before)} to {'/'.join(after)}"
    return ""


def _formats(kernel: FusedKernel) -> tuple[str, ...]:
    found = dict.fromkeys(item.format for item in kernel.kernel.outputs if item.format)
    return tuple(found)
