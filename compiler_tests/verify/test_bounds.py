"""What single operations may be off by: torch in float32 stays within it, and a little more does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compiler_tests.verify import nets
from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Flatten,
    Gate,
    GroupNorm,
    Init,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Quantize,
    Subsample,
)
from resnet_dsl.verify.bounds import error_of
from resnet_dsl.verify.error import Error, surely
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.measure import rms_bound
from resnet_dsl.verify.rounding import FLOAT32, UNITS, Arithmetic

IMAGE = (2, 8, 9, 9)
CONV: Conv[int] = Conv(8, 6, (3, 3), (1, 1), (1, 1), (1, 1), 1, True, Init())
CASES: dict[str, tuple[ConcreteOp, int, list[tuple[int, ...]]]] = {
    "convolution": (CONV, 1, [(6, 8, 3, 3), (6,)]),
    "linear": (Linear(8, 5, True, Init()), 1, [(5, 8), (5,)]),
    "normalisation": (BatchNorm(8, 1e-5, 0.1), 1, [(8,)] * 4),
    "group normalisation": (GroupNorm(8, 2, 1e-5), 1, [(8,)] * 2),
    "max pooling": (MaxPool((2, 2), (2, 2), (0, 0)), 1, []),
    "average pooling": (AvgPool((3, 3), (2, 2), (1, 1)), 1, []),
    "adaptive pooling": (AdaptiveAvgPool((4, 4)), 1, []),
    "global pooling": (AdaptiveAvgPool((1, 1)), 1, []),
    "addition": (Add(), 2, []),
    "addition of three": (Add(), 3, []),
    "product": (Multiply(), 2, []),
    "gate": (Gate(), 3, []),
    "concatenation": (Concat(), 2, []),
    "channels of zeros": (PadChannels(8, 12), 1, []),
    "every other pixel": (Subsample(2), 1, []),
    "flatten": (Flatten(), 1, []),
    **{
        kind: (Activation(kind, 0.2), 1, [])
        for kind in ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh")
    },
    **{
        kind: (Activation(kind, 0.2), 1, [])
        for kind in ("hardswish", "hardsigmoid", "softplus", "relu6")
    },
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
EXACT = ("relu", "relu6", "max pooling", "concatenation", "channels of zeros", "flatten")


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(
    op: ConcreteOp, operands: int, constants: list[tuple[int, ...]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Operands and constants in float32, variances positive."""
    shape = (2, 8) if isinstance(op, Linear) else IMAGE
    numbers = [drawn(item, seed) for seed, item in enumerate(constants, 100)]
    if isinstance(op, BatchNorm):
        numbers[3] = numbers[3].abs() + 0.1
    return [drawn(shape, seed) for seed in range(operands)], numbers


def off(op: ConcreteOp, operands: list[Tensor], constants: list[Tensor]) -> Tensor:
    """How far torch's float32 is from float64."""
    wanted = apply(op, [item.double() for item in operands], [item.double() for item in constants])
    return (apply(op, operands, constants).double() - wanted).abs()


def bound(op: ConcreteOp, operands: list[Tensor], constants: list[Tensor]) -> Error | None:
    exact = [item.double() for item in operands]
    weights = [item.double() for item in constants]
    result = apply(op, exact, weights)
    none = [None] * len(exact)
    return error_of(op, "float32", exact, none, weights, result, FLOAT32)


@EVERY
def test_float32_stays_within_the_bounds(
    case: tuple[ConcreteOp, int, list[tuple[int, ...]]],
) -> None:
    op, operands, constants = case
    read, numbers = given(op, operands, constants)
    found, error = off(op, read, numbers), bound(op, read, numbers)
    if error is None:
        assert not found.any()
        return
    assert bool((found <= 1.001 * error.peak.double()).all())
    rms = found.square().transpose(0, 1).flatten(1).mean(1).sqrt()
    assert bool((rms <= rms_bound(error)).all())


@EVERY
def test_the_bounds_are_a_small_part_of_the_values(
    case: tuple[ConcreteOp, int, list[tuple[int, ...]]],
) -> None:
    """At most a hundred units in the last place of the typical value, and none at all for what does not round."""
    op, operands, constants = case
    read, numbers = given(op, operands, constants)
    error = bound(op, read, numbers)
    if error is None:
        assert op in [CASES[name][0] for name in EXACT] or isinstance(op, Subsample)
        return
    sizes = [apply(op, read, numbers), read[0]]  # a mean may cancel
    scale = max(float(item.square().mean().sqrt()) for item in sizes)
    assert float(rms_bound(error).mean()) < 400 * UNITS["float32"].roundoff * scale


@EVERY
def test_errors_of_operands_are_carried_on(
    case: tuple[ConcreteOp, int, list[tuple[int, ...]]],
) -> None:
    """Operands that are off by up to 1e-3 make a result that is off by no more than the bound says."""
    op, operands, constants = case
    read, numbers = given(op, operands, constants)
    exact = [item.double() for item in read]
    weights = [item.double() for item in numbers]
    wanted = apply(op, exact, weights)
    size = torch.full_like(read[0], 1e-3)
    error = error_of(op, "float32", exact, [surely(size)] * operands, weights, wanted, FLOAT32)
    assert error is not None
    shift = [1e-3 * (2 * drawn(tuple(item.shape), 7).sign().relu() - 1) for item in read]
    moved = apply(op, [x + y for x, y in zip(exact, shift, strict=True)], weights)
    apart = (moved - wanted).abs()
    assert bool((apart <= 1.02 * error.peak.double() + 1e-9).all())
    assert bool((apart <= 1.02 * error.fixed.double() + 1e-9).all())
    assert float(error.peak.max()) < 200 * float(apart.max())


def test_a_cast_may_round_once() -> None:
    x = drawn(IMAGE, 0).double()
    error = error_of(Cast("float16"), "float16", [x], [None], [], x, FLOAT32)
    assert error is not None
    once = (x.half().double() - x).abs()
    assert bool((once <= error.peak).all())
    assert float((once / error.peak).max()) > 0.9


def test_codes_may_differ_by_one_near_the_middle_and_nowhere_else() -> None:
    op = Quantize("int8", 1.0)
    x = torch.tensor([[0.2, 0.5, 0.5 + 1e-8, 1.49, 2.5 - 1e-7]], dtype=torch.float64)
    error = error_of(op, "float32", [x], [None], [], apply(op, [x], []), FLOAT32)
    assert error is not None
    assert error.peak.tolist() == [[0, 1, 1, 0, 1]]


def test_an_error_before_codes_makes_others() -> None:
    op = Quantize("int8", 1.0)
    x = torch.tensor([[0.2, 0.45, 3.0]], dtype=torch.float64)
    before = surely(torch.tensor([[0.1, 0.1, 2.0]]))
    error = error_of(op, "float32", [x], [before], [], apply(op, [x], []), FLOAT32)
    assert error is not None
    assert error.peak[0].tolist()[:2] == [0, 1]
    assert error.peak[0, 2] >= 4


def test_tf32_is_off_by_more_than_float32_and_less_than_its_bound() -> None:
    read, numbers = given(CONV, 1, [(6, 8, 3, 3), (6,)])
    exact, weights = [read[0].double()], [item.double() for item in numbers]
    result = apply(CONV, exact, weights)
    error = error_of(CONV, "float32", exact, [None], weights, result, Arithmetic(reads=2.0**-11))
    assert error is not None

    def rounded(tensor: Tensor) -> Tensor:
        bits = tensor.float().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).double()

    found = apply(CONV, [rounded(read[0])], [rounded(numbers[0]), weights[1]])
    apart = (found - result).abs()
    single = bound(CONV, read, numbers)
    assert single is not None
    assert bool((apart <= error.peak.double()).all())
    assert bool((apart > single.peak.double()).any())


def test_every_operation_has_a_case() -> None:
    seen = {type(op) for op, _, _ in CASES.values()} | {Cast, Quantize}
    graphs = [nets.compiled(spec).inference_graph(fold=False) for spec in nets.SPECS.values()]
    used = {type(node.op) for graph in graphs for node in graph.nodes}
    assert {kind.__name__ for kind in used - seen} <= {"FrozenBatchNorm"}
