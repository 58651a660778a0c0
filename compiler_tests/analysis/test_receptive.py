from dataclasses import replace
from typing import Any

import pytest

from compiler_tests.graphs import conv
from resnet_dsl.analysis.receptive import ReceptiveField, receptive_fields
from resnet_dsl.ir.ops import AdaptiveAvgPool, Concat, Multiply, Subsample


def last(n: Any) -> ReceptiveField:
    return receptive_fields(n.graph())[-1]


def test_vgg16_conv5_3_sees_196(net):
    n = net(3, 224, 224)
    x, width = 0, 64
    for stage, depth in enumerate((2, 2, 3, 3, 3)):
        for _ in range(depth):
            x = n.conv(x, width)
        assert last(n).size[0] == (5, 14, 40, 92, 196)[stage]
        if stage < 4:
            x, width = n.max_pool(x, 2, 2), min(2 * width, 512)
    assert last(n) == ReceptiveField((196, 196), (16, 16))


def test_the_imagenet_stem_sees_11(net):
    n = net(3, 224, 224)
    n.max_pool(n.conv(0, 64, 7, 2), 3, 2, 1)
    assert last(n) == ReceptiveField((11, 11), (4, 4))


def test_a_residual_block_sees_what_its_longer_path_sees(net):
    n = net(16, 32, 32)
    n.basic(0, 32, stride=2)
    # 3×3/2: 3, jump 2; 3×3: 3 + 2·2 = 7. The projection sees 1.
    assert last(n) == ReceptiveField((7, 7), (2, 2))


def test_height_and_width_are_apart_and_dilation_spreads(net):
    n = net(3, 20, 40)
    op = replace(conv(3, 8), kernel=(1, 5), padding=(0, 0), stride=(1, 2), dilation=(1, 3))
    n.put(op, 0)
    assert last(n) == ReceptiveField((1, 13), (1, 2))


def test_a_subsample_widens_the_jump_only(net):
    n = net(8, 16, 16)
    n.conv(n.put(Subsample(2), 0), 8)
    # 1, jump 2; 3×3: 1 + 2·2
    assert last(n) == ReceptiveField((5, 5), (2, 2))


def test_global_pooling_and_linear_layers_see_everything(net):
    n = net(8, 10, 12)
    n.linear(n.flatten(n.global_pool(n.conv(0, 8))), 4)
    fields = receptive_fields(n.graph())
    assert not fields[0].whole
    assert all(f.whole and f.size == (10, 12) for f in fields[1:])
    m = net(2, 3, 3)
    m.linear(m.flatten(0), 4)
    assert [f.whole for f in receptive_fields(m.graph())] == [False, True]


def test_squeeze_and_excitation_sees_everything_and_keeps_the_local_size(net):
    n = net(8, 16, 16)
    y = n.conv(0, 8)
    scale = n.conv(n.global_pool(y), 8, 1)
    n.put(Multiply(), y, scale)
    assert last(n) == ReceptiveField((3, 3), (1, 1), whole=True)


@pytest.mark.parametrize(
    ("size", "out", "window", "jump"), [(7, 7, 1, 1), (14, 7, 2, 2), (10, 4, 3, 2), (5, 7, 2, 1)]
)
def test_adaptive_pooling_has_the_largest_of_its_windows(net, size, out, window, jump):
    n = net(2, size, size)
    n.put(AdaptiveAvgPool((out, out)), 0)
    assert last(n) == ReceptiveField((window, window), (jump, jump))


def test_a_concatenation_takes_the_largest(net):
    n = net(2, 9, 9)
    n.put(Concat(), n.conv(0, 2, 3), n.conv(0, 2, 5))
    assert last(n).size == (5, 5)
