"""An operation's tensors are those of its torch module: names, order, shapes, and which of them are trained."""

from __future__ import annotations

import pytest
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    FrozenBatchNorm,
    GroupNorm,
    Init,
    Linear,
)
from resnet_dsl.ir.parameters import parameters

CONV: Conv[int] = Conv(8, 6, (3, 1), (1, 1), (0, 0), (1, 1), 2, False, Init())


@pytest.mark.parametrize(
    ("op", "module"),
    [
        (CONV, nn.Conv2d(8, 6, (3, 1), groups=2, bias=False)),
        (
            Conv(8, 6, (3, 1), (1, 1), (0, 0), (1, 1), 2, True, Init()),
            nn.Conv2d(8, 6, (3, 1), groups=2),
        ),
        (Linear(5, 3, True, Init()), nn.Linear(5, 3)),
        (Linear(5, 3, False, Init()), nn.Linear(5, 3, bias=False)),
        (BatchNorm(4, 1e-5, 0.1), nn.BatchNorm2d(4)),
        (FrozenBatchNorm(4, 1e-5), FrozenBatchNorm2d(4)),
        (GroupNorm(4, 2, 1e-5), nn.GroupNorm(2, 4)),
    ],
)
def test_names_shapes_types_and_order_are_those_of_the_torch_module(
    op: ConcreteOp, module: nn.Module
):
    trained = dict(module.named_parameters())
    assert [(item.name, item.shape, item.trainable, item.dtype) for item in parameters(op)] == [
        (name, tuple(tensor.shape), name in trained, str(tensor.dtype).removeprefix("torch."))
        for name, tensor in module.state_dict().items()
    ]


def test_operations_without_weights_have_none():
    for op in (Activation("relu"), Add(), Flatten()):
        assert parameters(op) == ()


def test_a_linear_bias_is_drawn_with_the_bound_of_its_weight_under_the_uniform_rule():
    weight, bias = parameters(Linear(100, 3, True, Init("uniform")))
    assert weight.fill == Init("uniform")
    assert bias.fill == Init("uniform", scale=0.1)
    module = nn.Linear(100, 3)
    assert module.bias.detach().abs().max() <= 0.1


def test_a_bias_is_filled_where_the_rule_is_another():
    assert [item.fill for item in parameters(Linear(4, 3, True, Init("normal"), -2.0))] == [
        Init("normal"),
        -2.0,
    ]


def test_a_normalisation_starts_from_its_gamma_and_the_identity():
    fills = {item.name: item.fill for item in parameters(BatchNorm(4, 1e-5, 0.1, gamma=0.0))}
    assert fills == {
        "weight": 0.0,
        "bias": 0.0,
        "running_mean": 0.0,
        "running_var": 1.0,
        "num_batches_tracked": 0.0,
    }
