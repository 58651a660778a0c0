import pytest

from resnet_dsl.analysis.macs import (
    elementwise_operations_per_node,
    macs_per_node,
    total_macs,
)
from resnet_dsl.analysis.summary import describe
from resnet_dsl.ir.ops import AvgPool, Gate, GroupNorm, Multiply, PadChannels, Subsample


def test_a_bottleneck_by_hand(net):
    n = net(256, 56, 56)
    n.bottleneck(0, 128, 512, stride=2)
    # 1×1 at 56²: 128·3136·256 = 102_760_448
    # 3×3/2 to 28²: 128·784·128·9 = 115_605_504
    # 1×1 at 28²: 512·784·128 = 51_380_224
    # projection 1×1/2 to 28²: 512·784·256 = 102_760_448
    graph = n.graph()
    assert [m for m in macs_per_node(graph) if m] == [
        102_760_448,
        115_605_504,
        51_380_224,
        102_760_448,
    ]
    assert total_macs(graph) == 372_506_624
    assert describe(graph).total.flops_2x_macs == 745_013_248


def test_groups_divide_and_biases_are_not_multiply_adds(net):
    n = net(32, 8, 8)
    n.conv(n.conv_with_bias(0, 64, 1), 64, 3, groups=8)
    # 64·64·32 = 131072;  64·64·8·9 = 294912
    assert macs_per_node(n.graph()) == (131_072, 294_912)


def test_a_linear_layer(net):
    n = net(512, 1, 1)
    n.linear(n.flatten(0), 1000)
    assert macs_per_node(n.graph()) == (0, 512_000)


@pytest.mark.parametrize(("version", "expected"), [("v1", 3_857_973_248), ("v1.5", 4_089_184_256)])
def test_the_two_resnet50s_are_both_right(net, version, expected):
    """3.8 or 4.1 GFLOPs? Both: the paper's net strides in the first 1×1, torchvision's in the
    3×3.
    """
    n = net(3, 224, 224)
    x = n.max_pool(n.conv_norm_relu(0, 64, 7, 2), 3, 2, 1)
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(depth):
            s = stride if i == 0 else 1
            first, second = (s, 1) if version == "v1" else (1, s)
            y = n.conv_norm_relu(n.conv_norm_relu(x, width, 1, first), width, 3, second)
            y = n.norm(n.conv(y, 4 * width, 1))
            x = n.relu(n.plus(y, n.norm(n.conv(x, 4 * width, 1, s)) if i == 0 else x))
    n.linear(n.flatten(n.global_pool(x)), 1000)
    assert total_macs(n.graph()) == expected


def test_elementwise_operations_have_their_own_count(net):
    n = net(8, 4, 4)  # 128 elements
    a = n.conv_with_bias(0, 8)  # 128
    b = n.norm(a)  # 2·128
    c = n.relu(b)  # 128
    d = n.plus(a, b, c)  # 2·128
    e = n.max_pool(d, 3, 2, 1)  # 8·2·2·(9 - 1) = 256
    f = n.put(AvgPool((2, 2), (2, 2), (0, 0)), e)  # 8·4 = 32
    g = n.global_pool(d)  # 128, its operand's size
    h = n.put(Multiply(), f, g)  # 8
    i = n.put(Gate(), h, h, h)  # 4·8
    j = n.put(GroupNorm(8, 2, 1e-5), i)  # 5·8
    n.put(PadChannels(8, 16), n.put(Subsample(1), j))  # 0, 0
    expected = (128, 256, 128, 256, 256, 32, 128, 8, 32, 40, 0, 0)
    assert elementwise_operations_per_node(n.graph()) == expected
