"""Stages that keep few activations, and compute the others again: with the same outcome, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from compiler_tests.runtime.nets import Net, batch, net
from resnet_dsl.runtime.recompute import RecomputedStage, recompute


def recomputed(network: Net) -> Net:
    other = copy.deepcopy(network)
    recompute(other.layer1)
    recompute(other.layer2)
    return other


def learned(
    network: nn.Module, context: AbstractContextManager[object] | None = None, steps: int = 2
) -> list[Tensor]:
    """Losses, gradients and buffers after some steps, and random numbers drawn after them."""
    torch.manual_seed(3)
    images, labels = batch(6)
    losses = []
    for _ in range(steps):
        with context or nullcontext():
            loss = functional.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        losses.append(loss.detach())
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return [*losses, *gradients, *network.buffers(), torch.rand(3)]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def same(network: Net, context: Callable[[], AbstractContextManager[object]] = nullcontext) -> bool:
    """Whether a network learns as it does with its stages recomputed."""
    other = recomputed(network)
    return equal(learned(network, context()), learned(other, context()))


def bf16() -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("depth", [1, 2, 17])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("context", [nullcontext, bf16])
def test_losses_gradients_statistics_and_random_numbers_are_the_same(depth, dropout, context):
    assert same(net(depth=depth, dropout=dropout), context)


def test_channels_last_is_the_same():
    network = net()
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    assert same(network)


def test_normalisation_by_running_statistics_is_the_same():
    network = net()
    learned(network)
    network.zero_grad()
    network.layer1.eval()  # as in fine-tuning
    assert same(network)


def test_frozen_stages_are_the_same():
    network = net()
    for part in (network.conv1, network.bn1, network.layer1):
        part.requires_grad_(False)
    assert same(network)


def test_a_cumulative_average_is_the_same():
    network = net()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    assert same(network)


def plain() -> nn.Sequential:
    """As in VGG: layers on their own, some of which work in place."""
    layers = [[nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.ReLU(inplace=True)] for _ in "abc"]
    return nn.Sequential(
        nn.LeakyReLU(0.1, inplace=True), *(layer for row in layers for layer in row)
    )


def shared() -> nn.Sequential:
    """As in a recursive net: one block many times."""
    block = nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(*(block for _ in range(6)))


@pytest.mark.parametrize("build", [plain, shared])
def test_layers_in_place_and_shared_blocks_are_the_same(build: Callable[[], nn.Sequential]):
    torch.manual_seed(0)
    stage = build()
    other = copy.deepcopy(stage)
    recompute(other)
    found: list[list[Any]] = []
    for part in (stage, other):
        x = batch(4)[0].requires_grad_()
        out = part(x * 2)
        torch.autograd.backward(out.square().sum())
        found.append([out, x.grad, *(p.grad for p in part.parameters()), *part.buffers()])
    assert equal(*found)


def test_names_and_parameters_stay():
    network = net()
    before = network.state_dict(keep_vars=True)
    recompute(network.layer1)
    after = network.state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(after[name] is tensor for name, tensor in before.items())


def test_a_copy_runs_its_own_blocks():
    network = recomputed(net())
    other = copy.deepcopy(network)
    nn.init.zeros_(other.fc.weight)
    with torch.no_grad():
        for parameter in other.layer1.parameters():
            parameter.zero_()
    assert isinstance(other.layer1, RecomputedStage)
    images, _ = batch(2)
    assert not torch.equal(network(images), other(images))


def kept(stage: nn.Sequential, x: Tensor) -> int:
    """How many tensors as large as x the forward pass of a stage keeps for the backward pass."""
    found: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape == x.shape:
            found.add(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = stage(x)
    assert graph.requires_grad  # and holds what it keeps: no memory was used twice
    return len(found)


def test_what_is_kept_grows_as_the_square_root_of_the_depth():
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    counts = {}
    for depth in (4, 64, 256):
        stage = net(depth=depth).layer1
        assert kept(stage, x) == 4 * depth + 1
        recompute(stage)
        counts[depth] = kept(stage, x)
    assert counts == {4: 4, 64: 16, 256: 32}


def test_without_a_gradient_each_block_runs_once_and_nothing_is_kept():
    network = recomputed(net(depth=4))
    runs: list[nn.Module] = []
    for block in network.layer1:
        block.register_forward_pre_hook(lambda block, _: runs.append(block))
    with torch.no_grad():
        network(batch(2)[0])
    assert runs == list(network.layer1)
    runs.clear()
    learned(network, steps=1)
    assert len(runs) == 2 * len(network.layer1)


def test_what_is_no_sequence_of_blocks_is_refused():
    with pytest.raises(TypeError, match=r"a stage to recompute is an nn\.Sequential, not Conv2d"):
        recompute(net().conv1)  # type: ignore[arg-type]


def test_a_stage_may_be_said_twice():
    network = net()
    recompute(network.layer1)
    recompute(network.layer1)
    assert equal(learned(network), learned(net()))


def test_a_compiled_network_runs_it_as_it_is():
    network, other = net(), recomputed(net())
    other.forward = torch.compile(other.forward, backend="eager")  # type: ignore[method-assign]
    assert equal(learned(network), learned(other))


def test_a_stage_whose_input_is_read_elsewhere_too_differs_by_rounding_only():
    """As in residual nets of residual nets: there, sums of gradients are made in another order."""
    network = net(depth=9).double()
    other = recomputed(network)
    images, _ = batch(6, torch.float64)
    gradients = []
    for part in (network, other):
        x = part.conv1(images)
        torch.autograd.backward((part.layer1(x) + x).square().sum())
        gradients.append(part.conv1.weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.gpu
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_on_a_gpu_results_are_the_same_and_memory_is_saved(dropout, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    images, labels = (part.cuda() for part in batch(64))
    found: list[list[Tensor]] = []
    peaks: list[int] = []
    for change in (copy.deepcopy, recomputed):
        network = change(net(depth=64, dropout=dropout)).cuda()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        torch.manual_seed(3)
        with torch.autocast("cuda", torch.bfloat16):
            loss = functional.cross_entropy(network(images), labels)
        torch.autograd.backward(loss)
        peaks.append(torch.cuda.max_memory_allocated() - before)
        gradients = [parameter.grad for parameter in network.parameters()]
        found.append([loss.detach(), *network.buffers(), torch.rand(3, device="cuda")])
        found[-1] += [gradient for gradient in gradients if gradient is not None]
    assert equal(*found)
    assert peaks[1] < peaks[0] / 3
