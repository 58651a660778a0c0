"""LAMB is what its equations say, Adam where nothing decays, and goes on from its state to the bit."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from resnet_dsl.runtime.optimisers import Lamb, decay_groups, trust


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
    )
    nn.utils.convert_conv2d_weight_memory_format(net, torch.channels_last)
    return net


def train(net: nn.Module, optimiser: torch.optim.Optimizer, first: int, steps: int) -> None:
    for step in range(first, first + steps):
        images = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        loss = functional.cross_entropy(net(images), torch.arange(8) % 5)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()


def by_hand(
    weight: list[float], grads: list[list[float]], lr: float, decay: float, eps: float
) -> list[float]:
    """The equations on lists of numbers, with betas of 0.9 and 0.99."""
    size = len(weight)
    mean, square = [0.0] * size, [0.0] * size
    for t, grad in enumerate(grads, 1):
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, grad, strict=True)]
        square = [0.99 * v + 0.01 * g * g for v, g in zip(square, grad, strict=True)]
        update = [
            (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.99**t)) + eps) + decay * w
            for m, v, w in zip(mean, square, weight, strict=True)
        ]
        long, wide = math.hypot(*weight), math.hypot(*update)
        ratio = long / wide if decay and long and wide else 1.0
        weight = [w - lr * ratio * u for w, u in zip(weight, update, strict=True)]
    return weight


numbers = st.floats(-3, 3, width=32).filter(lambda number: number == 0 or abs(number) > 1e-3)
vectors = st.lists(numbers, min_size=3, max_size=3)


@given(
    weight=vectors,
    grads=st.lists(vectors, min_size=1, max_size=6),
    decay=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_lamb_follows_its_equations(weight, grads, decay):
    parameter = nn.Parameter(torch.tensor(weight))
    lamb = Lamb([parameter], lr=0.05, betas=(0.9, 0.99), eps=1e-6, weight_decay=decay)
    for grad in grads:
        parameter.grad = torch.tensor(grad)
        lamb.step()
    expected = torch.tensor(by_hand(weight, grads, 0.05, decay, 1e-6))
    assert torch.allclose(parameter.detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_first_step_of_lamb_is_as_long_as_the_weight_times_the_rate():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([1e-3, -50.0])
    Lamb([weight], lr=0.1, eps=0.0, weight_decay=0.01).step()
    # u = (1, -1) + 0.01 (3, 4), and |w| = 5
    expected = [
        3 - 0.1 * 5 * 1.03 / math.hypot(1.03, 0.96),
        4 + 0.1 * 5 * 0.96 / math.hypot(1.03, 0.96),
    ]
    assert weight.tolist() == pytest.approx(expected, rel=1e-6)


def test_lamb_without_decay_is_adam():
    nets = network(), network()
    train(nets[0], Lamb(nets[0].parameters(), lr=0.01, betas=(0.9, 0.999), eps=1e-6), 0, 8)
    train(nets[1], torch.optim.Adam(nets[1].parameters(), lr=0.01, eps=1e-6), 0, 8)
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_each_tensor_has_a_ratio_of_its_own_and_one_where_a_norm_is_nothing():
    weights = [torch.tensor([3.0, 4.0]), torch.zeros(2), torch.ones(4)]
    updates = [torch.tensor([0.0, 2.0]), torch.ones(2), torch.zeros(4)]
    assert [ratio.item() for ratio in trust(weights, updates)] == [2.5, 1.0, 1.0]


def test_lamb_goes_on_from_its_saved_state_to_the_bit():
    straight, stopped = network(), network()
    train(straight, Lamb(decay_groups(straight, 0.02), lr=0.01), 0, 6)
    before = Lamb(decay_groups(stopped, 0.02), lr=0.01)
    train(stopped, before, 0, 3)
    file = io.BytesIO()
    torch.save({"net": stopped.state_dict(), "optimiser": before.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = network()
    resumed.load_state_dict(state["net"])
    after = Lamb(decay_groups(resumed, 0.02), lr=0.01)
    after.load_state_dict(state["optimiser"])
    train(resumed, after, 3, 3)
    for ours, theirs in zip(
        resumed.state_dict().values(), straight.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_lamb_leaves_a_parameter_without_gradient():
    frozen, free = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    free.grad = torch.ones(2)
    lamb = Lamb([{"params": [frozen, free]}, {"params": [nn.Parameter(torch.ones(1))]}], lr=0.1)
    lamb.step()
    assert torch.equal(frozen, torch.ones(2))
    assert not torch.equal(free, torch.ones(2))
    assert [group["step"] for group in lamb.param_groups] == [1, 0]


def test_weights_decay_and_normalisations_and_biases_do_not():
    net = network()
    decayed, others = decay_groups(net, 0.05)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    names = {parameter: name for name, parameter in net.named_parameters()}
    assert [names[each] for each in decayed["params"]] == ["0.weight", "4.weight"]
    assert [names[each] for each in others["params"]] == ["1.weight", "1.bias", "4.bias"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
        (torch.optim.AdamW, {"weight_decay": 0.01}),
    ],
)
def test_torchs_fused_optimisers_do_as_the_plain_ones_on_a_cpu_also_after_a_resume(kind, options):
    """The trainer uses them, and they look at neither strides of weights nor of gradients."""
    plain, fused = network(), network()
    train(plain, kind(plain.parameters(), lr=0.05, foreach=False, **options), 0, 6)
    before = kind(fused.parameters(), lr=0.05, fused=True, **options)
    train(fused, before, 0, 3)
    after = kind(fused.parameters(), lr=0.05, fused=True, **options)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(fused, after, 3, 3)
    for ours, theirs in zip(fused.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
