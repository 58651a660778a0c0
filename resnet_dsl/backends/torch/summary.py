"""What the emitted file says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from resnet_dsl.backends.torch.chains import Module
from resnet_dsl.backends.torch.prose import NO_BREAK, paragraphs, sentence
from resnet_dsl.backends.torch.runs import LONGEST_PATTERN
from resnet_dsl.ir import ops
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.expr import Expr, to_source
from resnet_dsl.ir.program import Function, Program, SymbolicOp

LONGEST_TOPOLOGY = 30


@dataclass(frozen=True, slots=True)
class Facts:
    """What analysis found, for the file's docstring: trainable parameters, and multiply-adds of one
    image; and the compiler's version."""

    parameters: int
    macs: int
    version: str


def summary(program: Program, facts: Facts, factory: str, module: Module) -> list[str]:
    """The paragraphs of the module's docstring."""
    channels, height, width = program.input
    usage = [
        f"    model = {factory}(num_classes={program.classes})",
        f"    outputs = model(torch.randn(1, {channels}, {height}, {width}))",
    ]
    doc = paragraphs(program.doc)
    words = topology(program, module)
    title = sentence(doc[0]) if doc else f"The network {factory}."
    origin = " ".join(paragraphs(program.spec_hash))
    spec = f" from a spec with SHA-256 {origin}" if origin else ""
    return [
        title,
        *doc[1:],
        sentence(
            f"Topology: {', '.join(words).replace(' ', NO_BREAK).replace(f',{NO_BREAK}', ', ')}"
        ),
        f"Input (N, {channels}, {height}, {width}); {facts.parameters:,} parameters; "
        f"{facts.macs:,} multiply-adds an image.",
        "\n".join(usage),
        f"Written by resnet-dsl {' '.join(paragraphs(facts.version))}{spec}.",
    ]


def topology(program: Program, module: Module) -> list[str]:
    """The main function in a few words a layer, repetitions counted."""
    return _layers(program.main.body, module) or ["the identity"]


def contents(function: Function, module: Module) -> list[str]:
    """What a function without words of its own says of itself: its layers."""
    text = ", ".join(_layers(function.body, module)) or "the identity"
    return paragraphs(sentence(f"{text[0].upper()}{text[1:]}"))


def _layers(body: Iterable[ir.Statement], module: Module) -> list[str]:
    words: list[str] = []
    for item in body:
        members = item.members if isinstance(item, ir.Chain) else (item,)
        # The members of a flat trunk are layers, which read better one by one.
        is_stage = all(isinstance(each, ir.Call) and not each.splice for each in members)
        words += _grouped(list(_words(members, module)), LONGEST_PATTERN if is_stage else 1)
    if len(words) > LONGEST_TOPOLOGY:
        half = LONGEST_TOPOLOGY // 2
        words[half:-half] = ["…"]
    return words


def _grouped(words: Sequence[str], longest: int) -> Iterator[str]:
    """The words in order, a pattern of up to `longest` that repeats as one with its count."""
    start = 0
    while start < len(words):
        counts = {size: _repetitions(words, start, size) for size in range(1, longest + 1)}
        size = max(counts, key=lambda each: (counts[each] - 1) * each)
        pattern = ", ".join(words[start : start + size])
        bracketed = pattern if size == 1 else f"({pattern})"
        yield bracketed if counts[size] == 1 else f"{counts[size]} × {bracketed}"
        start += size * counts[size]


def _repetitions(words: Sequence[str], start: int, size: int) -> int:
    """How many times over the `size` words from `start` on stand there."""
    end = start + size
    while end < len(words) and words[end] == words[end - size]:
        end += 1
    return max(1, (end - start) // size)


def _words(members: tuple[ir.Statement, ...], module: Module) -> Iterator[str]:
    for member in members:
        match member:
            case ir.Apply(_, op):
                yield describe(op)
            case ir.Call(_, function):
                yield module.spelled[function]
            case ir.UseSlot() | ir.Chain():
                pass


def describe(op: SymbolicOp) -> str:
    """An operation in a few words."""
    match op:
        case ops.Conv():
            return f"conv {_extent(op.kernel, op.stride)}"
        case ops.MaxPool():
            return f"max pool {_extent(op.kernel, op.stride)}"
        case ops.AvgPool():
            return f"average pool {_extent(op.kernel, op.stride)}"
        case ops.AdaptiveAvgPool():
            return f"average pool to {_by(op.size)}"
        case ops.Activation():
            return op.kind
        case ops.BatchNorm():
            return "batch norm"
        case ops.FrozenBatchNorm():
            return "frozen batch norm"
        case ops.GroupNorm():
            return "group norm"
        case ops.DropPath():
            return "drop path"
        case ops.PadChannels():
            return "pad channels"
        case (
            ops.Linear()
            | ops.Flatten()
            | ops.Dropout()
            | ops.Subsample()
            | ops.Add()
            | ops.Multiply()
            | ops.Concat()
            | ops.Gate()
            | ops.Cast()
            | ops.Quantize()
            | ops.Dequantize()
        ):
            return type(op).__name__.lower()
        case _:
            assert_never(op)


def _extent(kernel: tuple[Expr, Expr], stride: tuple[Expr, Expr]) -> str:
    first, second = map(to_source, stride)
    if first == second:
        return _by(kernel) if first == "1" else f"{_by(kernel)} / {first}"
    return f"{_by(kernel)} / {_by(stride)}"


def _by(size: tuple[Expr, Expr]) -> str:
    return f"{to_source(size[0])}×{to_source(size[1])}"
