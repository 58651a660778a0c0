from dataclasses import replace
from typing import Any

import pytest

from resnet_dsl.analysis.memory import activation_memory
from resnet_dsl.analysis.summary import Row, describe
from resnet_dsl.ir.ops import (
    AdaptiveAvgPool,
    AvgPool,
    Dropout,
    DropPath,
    FrozenBatchNorm,
    Gate,
    Multiply,
)


def total(n: Any) -> Row:
    """The whole network's row of the summary."""
    return describe(n.graph()).total


def test_training_keeps_what_the_backward_pass_of_a_basic_block_reads(net):
    n = net(16, 8, 8)
    n.basic(0, 16)
    # T = 16·8·8·4 = 4096 bytes. Kept: the image (conv1), conv1's result (bn1), relu's result,
    # conv2's result (bn2), and the last relu's result; not kept: both results of the
    # normalisations, and the sum.
    memory = activation_memory(n.graph())
    t = 4096
    #                          conv    norm relu conv norm add relu
    assert memory.training == (t + t, 0, t, t, 0, 0, t)
    assert total(n).activation_bytes_training == 5 * t


def test_the_peak_of_a_residual_block_holds_the_shortcut(net):
    n = net(16, 8, 8)
    n.basic(n.relu(n.conv(0, 16)), 16)
    # conv: image + result = 2T; relu in place, and the image is gone: T.
    # block's conv1: x + result = 2T; bn and relu in place: 2T; conv2: x + its operand + its result
    # = 3T; its operand dies, bn in place: 2T; add writes over an operand: 2T, then T; relu in
    # place: T.
    t = 4096
    memory = activation_memory(n.graph())
    assert memory.live == (2 * t, t, 2 * t, 2 * t, 2 * t, 3 * t, 2 * t, 2 * t, t)
    assert total(n).activation_bytes_inference_peak == 3 * t


def test_a_plain_net_needs_one_tensor_less_than_a_residual_one(net):
    n = net(16, 8, 8)
    x = 0
    for _ in range(3):
        x = n.conv_norm_relu(x, 16)
    assert total(n).activation_bytes_inference_peak == 2 * 4096


def test_the_peak_is_the_same_without_normalisations(net):
    with_norm, without = net(16, 8, 8), net(16, 8, 8)
    with_norm.basic(with_norm.relu(with_norm.norm(with_norm.conv(0, 16))), 16)
    x = without.relu(without.conv(0, 16))
    y = without.conv(without.relu(without.conv(x, 16)), 16)
    without.relu(without.plus(y, x))
    peaks = [total(n).activation_bytes_inference_peak for n in (with_norm, without)]
    assert peaks[0] == peaks[1]


def test_the_image_is_never_written_over(net):
    n = net(4, 2, 2)  # 64 bytes
    n.relu(0)
    assert activation_memory(n.graph()).live == (128,)


def test_a_flatten_is_a_view_and_the_output_lives_on(net):
    n = net(8, 2, 2)
    n.linear(n.flatten(n.conv(0, 8)), 5)
    # T = 128 bytes, the output 20. Nothing is copied by the flatten.
    memory = activation_memory(n.graph())
    assert memory.live == (256, 128, 148)
    # The linear layer keeps the convolution's result, through the view.
    assert memory.training == (128 + 128, 0, 0)


def test_a_result_that_nothing_reads_dies_at_once(net):
    n = net(4, 2, 2)
    n.conv(0, 4)
    n.conv(0, 4)
    assert activation_memory(n.graph()).live == (128, 128)


def test_max_pooling_keeps_indices(net):
    n = net(4, 4, 4)
    n.max_pool(0, 2, 2)
    assert activation_memory(n.graph()).training == (4 * 2 * 2 * 8,)


@pytest.mark.parametrize(
    ("op", "kept"),
    [
        (Dropout(0.5), 64),  # a byte an element
        (DropPath(0.5), 4),  # one number a sample
        (FrozenBatchNorm(4, 1e-5), 0),
        (AvgPool((2, 2), (2, 2), (0, 0)), 0),
        (AdaptiveAvgPool((2, 2)), 0),
    ],
)
def test_what_other_operations_keep(net, op, kept):
    n = net(4, 4, 4)
    n.put(op, 0)
    assert total(n).activation_bytes_training == kept


def test_gates_and_products_keep_their_operands(net):
    n = net(4, 4, 4)  # 256 bytes
    a, b = n.relu(0), n.global_pool(0)
    n.put(Multiply(), a, b)
    # relu's result once; the pooled operand 16 bytes
    assert activation_memory(n.graph()).training == (256, 16, 0)
    m = net(4, 4, 4)
    x, y = m.max_pool(0, 1, 1), m.max_pool(0, 1, 1)
    m.put(Gate(), x, 0, y)
    assert activation_memory(m.graph()).training == (256 + 512, 256 + 512, 256)


def test_half_precision_takes_half(net):
    n = net(4, 4, 4)
    n.relu(n.norm(n.conv(0, 4)))
    n.nodes = [replace(node, dtype="float16") for node in n.nodes]
    # The image stays float32 (256); the convolution's result and relu's take 128 each.
    assert activation_memory(n.graph()).training == (256 + 128, 0, 128)


def test_torch_keeps_exactly_these_bytes(net):
    """Autograd's own list of saved tensors, for a ResNet with a stem, a projection and a head."""
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.nn import functional

    n = net(3, 32, 32)
    x = n.max_pool(n.conv_norm_relu(0, 8, 7, 2), 3, 2, 1)
    x = n.basic(n.basic(x, 8), 16, stride=2)
    n.linear(n.flatten(n.global_pool(x)), 10)

    layers: list[nn.Module] = []
    for node in n.nodes:
        made: nn.Module = nn.Identity()
        match type(node.op).__name__:
            case "Conv":
                op = node.op
                made = nn.Conv2d(
                    op.in_channels, op.out_channels, op.kernel, op.stride, op.padding, bias=False
                )
            case "BatchNorm":
                made = nn.BatchNorm2d(node.op.channels)
            case "Linear":
                made = nn.Linear(node.op.in_features, node.op.out_features)
            case _:
                pass
        layers.append(made)

    saved: dict[int, int] = {}
    small = {p.data_ptr() for layer in layers for p in [*layer.parameters(), *layer.buffers()]}

    def keep(tensor: Any) -> Any:
        pointer = tensor.untyped_storage().data_ptr()
        statistics = tensor.ndim == 1
        if pointer not in small and not statistics:
            saved[pointer] = tensor.untyped_storage().nbytes()
        return tensor

    values = [torch.randn(1, 3, 32, 32)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for node, layer in zip(n.nodes, layers, strict=True):
            operands = [values[i] for i in node.inputs]
            match type(node.op).__name__:
                case "Activation":
                    values.append(functional.relu(operands[0]))
                case "MaxPool":
                    values.append(functional.max_pool2d(operands[0], 3, 2, 1))
                case "AdaptiveAvgPool":
                    values.append(functional.adaptive_avg_pool2d(operands[0], 1))
                case "Flatten":
                    values.append(operands[0].flatten(1))
                case "Add":
                    values.append(operands[0] + operands[1])
                case _:
                    values.append(layer(operands[0]))
    assert sum(saved.values()) == total(n).activation_bytes_training
