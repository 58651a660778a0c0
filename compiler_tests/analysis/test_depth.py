import pytest

from resnet_dsl.analysis.depth import depths
from resnet_dsl.analysis.summary import describe
from resnet_dsl.ir.ops import Multiply


@pytest.mark.parametrize(
    ("stages", "depth"), [((3, 4, 6, 3), 50), ((3, 4, 23, 3), 101), ((3, 8, 36, 3), 152)]
)
def test_a_bottleneck_net_has_the_depth_in_its_name(net, stages, depth):
    n = net(3, 64, 64)
    x = n.max_pool(n.conv_norm_relu(0, 8, 7, 2), 3, 2, 1)
    for i, blocks in enumerate(stages):
        for b in range(blocks):
            x = n.bottleneck(x, 2 << i, 8 << i, 2 if i and not b else 1)
    n.linear(n.flatten(n.global_pool(x)), 10)
    assert describe(n.graph()).total.layers == depth


def test_a_projection_beside_a_longer_path_does_not_count(net):
    n = net(8, 8, 8)
    n.basic(0, 16, stride=2)
    assert describe(n.graph()).total.layers == 2


def test_the_longer_of_two_paths_counts_even_if_it_is_the_shortcut(net):
    n = net(8, 8, 8)
    n.plus(n.conv(0, 8), n.conv(n.conv(n.conv(0, 8), 8), 8))
    assert describe(n.graph()).total.layers == 3


@pytest.mark.parametrize("size", [8, 1])
def test_squeeze_and_excitation_adds_no_depth_at_any_size(net, size):
    n = net(8, size, size)
    y = n.conv(0, 8)
    scale = n.conv(n.relu(n.conv(n.global_pool(y), 4, 1)), 8, 1)
    n.conv(n.put(Multiply(), y, scale), 8)
    assert depths(n.graph())[-2:] == (1, 2)


def test_a_product_of_two_full_paths_takes_the_longer(net):
    n = net(8, 8, 8)
    n.put(Multiply(), n.conv(0, 8), n.conv(n.conv(0, 8), 8))
    assert describe(n.graph()).total.layers == 2
