"""Batch norm over the batches of all processes: as one process has it with the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compiler_tests.runtime.nets import batch, net
from compiler_tests.runtime.together import together
from resnet_dsl.runtime.parallel import Processes
from resnet_dsl.runtime.synchronised_norm import JointBatchNorm, synchronise

CPU = torch.device("cpu")


def test_names_parameters_and_statistics_stay():
    network = net()
    before = network.state_dict(keep_vars=True)
    synchronise(network, CPU)
    after = network.state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(after[name] is tensor for name, tensor in before.items())
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(type(norm) is JointBatchNorm for norm in norms)


def test_one_process_alone_normalises_as_ever():
    network, other = net(), net()
    synchronise(other, CPU)
    images, _ = batch(4)
    for training in (True, False):
        outputs = [part.train(training)(images) for part in (network, other)]
        assert torch.equal(*outputs)
    assert all(map(torch.equal, network.buffers(), other.buffers()))


# What follows is run by two processes, of which the first has 5 images of 8, or 7.

CASES: dict[str, dict[str, Any]] = {
    "double": {"dtype": torch.float64},
    "single": {"dtype": torch.float32},
    "far from zero": {"dtype": torch.float32, "offset": 1000.0},
    "without weights": {"dtype": torch.float64, "affine": False},
    "cumulative": {"dtype": torch.float64, "momentum": None},
    "one in the second": {"dtype": torch.float64, "first": 7},
    "half": {"dtype": torch.bfloat16},
}


EXACT = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}


def case(
    dtype: torch.dtype, offset: float = 0.0, first: int = 5, **options: Any
) -> tuple[nn.BatchNorm2d, Tensor, Tensor, int]:
    """A batch norm, its input (8, 3, 4, 4) and the gradient of its output, and what the first has of them."""
    draws = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(3, **options)
    if norm.affine:
        nn.init.uniform_(norm.weight, generator=draws)
        nn.init.uniform_(norm.bias, generator=draws)
    x, grad = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64, generator=draws)
    x = x * torch.arange(1, 4)[:, None, None] + offset
    norm = norm.double() if dtype is torch.float64 else norm
    return norm, x.to(dtype), grad.to(dtype), first


def normalised(norm: nn.BatchNorm2d, x: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """Two steps of it: the last output, and the sums of gradients."""
    x = x.clone(memory_format=torch.channels_last).requires_grad_()
    for _ in range(2):
        y = norm(x)
        torch.autograd.backward(y, grad)
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad, **dict(norm.named_buffers())}
    for name, parameter in norm.named_parameters():
        assert parameter.grad is not None
        found[f"{name}.grad"] = parameter.grad
    norm.eval()
    return found | {"eval": norm(x).detach()}


def apart(processes: Processes) -> dict[str, dict[str, Tensor]]:
    found = {}
    for name, options in CASES.items():
        norm, x, grad, first = case(**options)
        synchronise(norm, processes.device)
        here = slice(None, first) if processes.rank == 0 else slice(first, None)
        found[name] = normalised(norm, x[here], grad[here])
    return found


@pytest.mark.slow
def test_two_processes_normalise_unequal_batches_as_one_does_both(tmp_path):
    first, second = together(apart, tmp_path)
    for name, options in CASES.items():
        norm, x, grad, _ = case(**options)
        expected = normalised(norm.double(), x.double(), grad.double())
        for key, value in expected.items():
            one, other = first[name][key], second[name][key]
            if key in ("y", "x", "eval"):
                assert one.dtype == options["dtype"]
                found = torch.cat([one, other])
            elif key.endswith(".grad"):
                found = one + other  # as DDP adds them
            else:
                assert torch.equal(one, other)
                found = one
            # x - mean is as exact as they are.
            tolerance = EXACT[options["dtype"]] * (1 + options.get("offset", 0) / 10)
            assert (found - value).abs().max() <= tolerance * value.abs().max(), (name, key)
