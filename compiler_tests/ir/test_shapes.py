"""Shapes are torch's, and what cannot be is refused in words that a user can act on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler_tests import torch_reference
from resnet_dsl.ir.graph import ConcreteOp, Shape
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Init,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Subsample,
)
from resnet_dsl.ir.shapes import ShapeError, infer, show

sizes = st.integers(1, 12)
small = st.integers(1, 4)


def conv(before: int = 4, after: int = 8, **changes: object) -> Conv[int]:
    fields: dict[str, object] = {
        "kernel": (3, 3),
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "bias": False,
        "init": Init(),
    }
    return Conv(before, after, **(fields | changes))  # type: ignore[arg-type]


@settings(max_examples=150)
@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(small, small),
)
def test_a_convolution_has_the_shape_that_torch_gives_it_or_both_refuse(
    size, kernel, stride, padding, dilation
):
    op = conv(4, 6, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=2)
    weight = torch.zeros(6, 2, *kernel)
    try:
        expected = torch_reference.apply(op, [torch.zeros(1, 4, *size)], [weight]).shape[1:]
    except RuntimeError:
        with pytest.raises(ShapeError, match="larger than the padded input"):
            infer(op, [(4, *size)])
        return
    assert infer(op, [(4, *size)]) == tuple(expected)


@settings(max_examples=300)
@given(
    kind=st.sampled_from([MaxPool, AvgPool]),
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(st.integers(1, 6), small),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil=st.booleans(),
)
def test_a_pooling_has_the_shape_that_torch_gives_it_or_both_refuse(
    kind, size, kernel, stride, padding, ceil
):
    op = kind(kernel, stride, padding, ceil)
    try:
        expected = torch_reference.apply(op, [torch.zeros(1, 2, *size)], []).shape[1:]
    except RuntimeError:
        with pytest.raises(ShapeError):
            infer(op, [(2, *size)])
        return
    assert infer(op, [(2, *size)]) == tuple(expected)


@settings(max_examples=60)
@given(size=st.tuples(sizes, sizes), stride=small, more=st.integers(0, 5))
def test_the_parameter_free_shortcut_has_the_shape_that_torch_gives_it(size, stride, more):
    x = torch.zeros(1, 3, *size)
    for op in (Subsample(stride), PadChannels(3, 3 + more), PadChannels(3, 3 + more, "trailing")):
        assert infer(op, [(3, *size)]) == tuple(torch_reference.apply(op, [x], []).shape[1:])


def test_a_last_window_counts_under_ceil_only_if_it_starts_before_the_padding_after_the_input():
    assert infer(MaxPool((2, 2), (2, 2), (0, 0), ceil=True), [(1, 5, 4)]) == (1, 3, 2)
    assert infer(MaxPool((2, 2), (3, 3), (1, 1), ceil=True), [(1, 5, 5)]) == (1, 2, 2)


IMAGE: Shape = (4, 6, 5)


@pytest.mark.parametrize(
    ("op", "inputs", "shape"),
    [
        (BatchNorm(4, 1e-5, 0.1), [IMAGE], IMAGE),
        (FrozenBatchNorm(4, 1e-5), [IMAGE], IMAGE),
        (GroupNorm(4, 2, 1e-5), [IMAGE], IMAGE),
        (Activation("relu"), [(7,)], (7,)),
        (Dropout(0.5), [(7,)], (7,)),
        (DropPath(0.5), [IMAGE], IMAGE),
        (Cast("float16"), [IMAGE], IMAGE),
        (AdaptiveAvgPool((2, 3)), [IMAGE], (4, 2, 3)),
        (Flatten(), [IMAGE], (120,)),
        (Flatten(), [(7,)], (7,)),
        (Linear(7, 3, True, Init()), [(7,)], (3,)),
        (Add(), [IMAGE, IMAGE, IMAGE], IMAGE),
        (Multiply(), [IMAGE, (4, 1, 1)], IMAGE),
        (Multiply(), [(4, 1, 5), (4, 6, 1)], IMAGE),
        (Concat(), [IMAGE, (2, 6, 5)], (6, 6, 5)),
        (Concat(), [(3,), (4,)], (7,)),
        (Gate(), [IMAGE, IMAGE, IMAGE], IMAGE),
    ],
)
def test_the_shape_of(op: ConcreteOp, inputs: list[Shape], shape: Shape):
    assert infer(op, inputs) == shape


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (conv(3), [IMAGE], "the convolution takes 3 channels, but its input has 4"),
        (conv(4, 6, groups=4), [IMAGE], "4 groups do not divide 6 output channels"),
        (conv(4, 6, groups=3), [IMAGE], "3 groups do not divide 4 input channels"),
        (conv(4, 8, stride=(0, 1)), [IMAGE], "the stride must be at least 1, not 0"),
        (conv(4, 8, padding=(-1, 0)), [IMAGE], "the padding must be at least 0, not -1"),
        (conv(4, 0), [IMAGE], "the number of output channels must be at least 1, not 0"),
        (
            conv(4, 8, kernel=(9, 9), padding=(0, 0)),
            [IMAGE],
            "a window of 9×9 is larger than the padded input of 6×5",
        ),
        (
            conv(4, 8, dilation=(4, 1)),
            [IMAGE],
            "a window of 9×3 is larger than the padded input of 8×7",
        ),
        (conv(), [(4,)], "Conv needs an image (channels, height, width), but its input is flat"),
        (conv(), [IMAGE, IMAGE], "Conv takes 1 operands and gets 2"),
        (
            MaxPool((2, 2), (2, 2), (2, 2)),
            [IMAGE],
            "the pooling's padding of 2 is more than half of its kernel of 2, "
            "so some windows could hold nothing but padding",
        ),
        (
            AvgPool((7, 7), (1, 1), (0, 0)),
            [IMAGE],
            "a window of 7×7 is larger than the padded input of 6×5",
        ),
        (
            BatchNorm(8, 1e-5, 0.1),
            [IMAGE],
            "the normalisation takes 8 channels, but its input has 4",
        ),
        (GroupNorm(4, 3, 1e-5), [IMAGE], "3 groups do not divide 4 channels"),
        (
            GroupNorm(4, 4, 1e-5),
            [(4, 1, 1)],
            "each of the 4 groups has one number, and less its mean that is 0; torch refuses it for an image alone",
        ),
        (
            Linear(7, 3, True, Init()),
            [IMAGE],
            "a linear layer needs a flat input, but gets 4×6×5; flatten it first",
        ),
        (
            Linear(7, 3, True, Init()),
            [(8,)],
            "the linear layer takes 7 features, but its input has 8",
        ),
        (
            PadChannels(4, 2),
            [IMAGE],
            "padding can only add channels: 4 cannot become 2; a projection (shortcut B) can",
        ),
        (Add(), [IMAGE, (8, 6, 5)], "an addition of unequal shapes: 4×6×5 and 8×6×5"),
        (Add(), [], "the addition has no operands"),
        (Multiply(), [IMAGE, (4, 2, 1)], "a multiplication of unequal shapes: 4×6×5 and 4×2×1"),
        (Multiply(), [IMAGE, (4,)], "a multiplication of unequal shapes: 4×6×5 and 4 features"),
        (
            Concat(),
            [IMAGE, (4, 3, 5)],
            "a concatenation needs operands of the same height and width: 4×6×5 and 4×3×5",
        ),
        (Gate(), [IMAGE, IMAGE, (4, 1, 1)], "a gate of unequal shapes: 4×6×5 and 4×1×1"),
        (Gate(), [IMAGE], "Gate takes 3 operands and gets 1"),
        (
            AdaptiveAvgPool((0, 1)),
            [IMAGE],
            "the size of an adaptive pooling must be at least 1, not 0",
        ),
    ],
)
def test_the_refusal_of(op: ConcreteOp, inputs: list[Shape], message: str):
    with pytest.raises(ShapeError) as caught:
        infer(op, inputs)
    assert str(caught.value) == message


def test_shapes_are_shown_with_their_sizes_or_as_features():
    assert (show((64, 56, 56)), show((512,))) == ("64×56×56", "512 features")


@settings(max_examples=40)
@given(size=st.tuples(sizes, sizes), out=st.tuples(small, small))
def test_adaptive_pooling_has_the_size_asked_for_even_beyond_the_input(size, out):
    assume(out != (1, 1))
    assert infer(AdaptiveAvgPool(out), [(2, *size)]) == (2, *out)
