from dataclasses import replace

from resnet_dsl.analysis.parameters import ParameterCount, parameters_per_node, total_parameters
from resnet_dsl.ir.ops import FrozenBatchNorm


def test_a_bottleneck_by_hand(net):
    n = net(256, 56, 56)
    n.bottleneck(0, 64, 256)
    # weights 256·64 + 64·64·9 + 64·256 = 16384 + 36864 + 16384 = 69632
    # normalisations, weight and bias: 2·(64 + 64 + 256) = 768; as many running statistics
    count = total_parameters(n.graph())
    assert count.trainable == 69_632 + 768
    assert count.buffers == 768
    assert count.bytes == 4 * (69_632 + 2 * 768)


def test_groups_divide_a_weight_and_a_bias_counts(net):
    n = net(32, 8, 8)
    n.conv(n.conv_with_bias(0, 32, 1), 32, 3, groups=8)
    # 32·32 + 32 = 1056;  32 · (32/8) · 9 = 1152
    assert [c.trainable for c in parameters_per_node(n.graph())] == [1056, 1152]


def test_frozen_normalisation_has_buffers_only(net):
    n = net(16, 4, 4)
    n.put(FrozenBatchNorm(16, 1e-5), 0)
    assert parameters_per_node(n.graph()) == (ParameterCount(0, 64, 256),)


def test_a_weight_of_two_nodes_counts_once_at_the_first(net):
    n = net(4, 8, 8)
    n.conv(n.conv(0, 4), 4)
    first, second = n.nodes
    n.nodes[1] = replace(second, constants=first.constants)
    assert [c.trainable for c in parameters_per_node(n.graph())] == [144, 0]
