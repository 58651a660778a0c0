"""Processes that torchrun starts, or one alone: who is who, sums over all, gradients averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from compiler_tests.runtime.nets import batch, net
from compiler_tests.runtime.together import together
from resnet_dsl.runtime.parallel import (
    ProcessError,
    Processes,
    agreed,
    average_ddp,
    copy_first,
    from_first,
    start_processes,
    stop_processes,
    total,
    wrap_ddp,
)
from resnet_dsl.runtime.recompute import recompute
from resnet_dsl.runtime.synchronised_norm import synchronise

NAMES = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RESTART_COUNT",
)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_torchrun_there_is_one_process_and_no_group():
    assert start_processes("cpu") == Processes(0, 0, 1, torch.device("cpu"))
    assert not dist.is_initialized()
    stop_processes()


def test_one_process_of_torchrun_needs_no_group_either(monkeypatch):
    for name, value in zip(NAMES, ("0", "0", "1"), strict=False):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    assert start_processes("cpu") == Processes(0, 0, 1, torch.device("cpu"))
    assert not dist.is_initialized()


def test_one_process_agrees_with_itself():
    counts = torch.tensor([2**24 + 1, 3])
    assert torch.equal(total(counts), counts.double())
    sums = torch.zeros(2, dtype=torch.float64)
    assert total(sums).data_ptr() != sums.data_ptr()
    assert agreed(True)
    assert not agreed(False)
    assert from_first("said") == "said"
    network = net()
    copy_first(network.state_dict().values())
    assert wrap_ddp(network, torch.device("cpu")) is network
    average_ddp(network, now=False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"RANK": "1", "LOCAL_RANK": "1"}, "RANK=1, LOCAL_RANK=1, WORLD_SIZE=None: start with torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "RANK=0, LOCAL_RANK=None, WORLD_SIZE=2: start with torchrun"),
        ({"RANK": "a", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "RANK=a, .* or unset them to train in one"),
        ({"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "RANK=2, .* no process can be that"),
        ({"RANK": "0", "LOCAL_RANK": "-1", "WORLD_SIZE": "2"}, "LOCAL_RANK=-1, .* no process can be"),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE=0, and no process can be"),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE is 2, and MASTER_ADDR is not"),
    ],
)  # fmt: skip
def test_an_environment_that_no_torchrun_makes_is_refused(monkeypatch, said, message):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProcessError, match=message):
        start_processes("cpu")
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu", "--device gpu: torch knows no such device"),
        ("meta", "--device meta: this script runs on cpu and cuda"),
        ("cuda:3", "--device cuda:3: torch sees no such GPU here"),
    ],
)
def test_a_device_that_cannot_be_is_refused(monkeypatch, wanted, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ProcessError, match=f"^{message}$"):
        start_processes(wanted)


@pytest.mark.parametrize(
    ("wanted", "local", "message"),
    [
        ("cuda:1", 0, "--device cuda:1: each process has its own GPU; write --device cuda"),
        ("cuda", 2, "more processes than GPUs on this machine: torchrun --nproc-per-node 2"),
        (None, 2, "more processes than GPUs on this machine: torchrun --nproc-per-node 2"),
    ],
)
def test_processes_that_cannot_have_a_gpu_each_are_refused(monkeypatch, wanted, local, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in zip(NAMES, (local, local, 3), strict=False):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ProcessError, match=f"^{message}$"):
        start_processes(wanted)


def test_each_process_has_the_gpu_of_its_number(monkeypatch):
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(dist, "init_process_group", chosen.append)
    for name, value in zip(NAMES, ("3", "1", "4", "127.0.0.1", "1"), strict=False):
        monkeypatch.setenv(name, value)
    assert start_processes().device == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1), "cpu:gloo,cuda:nccl"]


# What follows is run by two processes.


def gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def talk(processes: Processes) -> dict[str, Any]:
    """Everything that two processes say to one another, and a step in two micro-batches."""
    rank = processes.rank
    said: dict[str, Any] = {
        "processes": (processes.rank, processes.local_rank, processes.world),
        "total": total(torch.tensor([2**40 + rank, 1])),
        "agreed": [agreed(rank == 1), agreed(False), agreed(True)],
        "first": from_first({"rank": rank}),
    }
    other = net(seed=rank)
    copy_first(other.state_dict().values())
    said["copied"] = other.state_dict()

    network = net(seed=rank).double()
    synchronise(network, processes.device)
    recompute(network.layer1)
    model = wrap_ddp(network, processes.device)
    images, labels = batch(16, torch.float64)
    for part in range(2):
        average_ddp(model, now=part == 1)
        here = slice(8 * part + 4 * rank, 8 * part + 4 * rank + 4)
        loss = functional.cross_entropy(model(images[here]), labels[here]) / 2
        torch.autograd.backward(loss)
        said[f"gradients {part}"] = gradients(network)
    said["buffers"] = dict(network.named_buffers())
    return said


@pytest.mark.slow
def test_two_processes_add_agree_and_learn_as_one(tmp_path):
    first, second = together(talk, tmp_path)
    assert (first["processes"], second["processes"]) == ((0, 0, 2), (1, 1, 2))
    for said in (first, second):
        assert said["total"].tolist() == [2**41 + 1, 2]  # float32 has no such number
        assert said["agreed"] == [True, False, True]
        assert said["first"] == {"rank": 0}
        assert all(
            torch.equal(said["copied"][name], value) for name, value in net().state_dict().items()
        )

    network = net().double()
    images, labels = batch(16, torch.float64)
    for part in range(2):
        here = slice(8 * part, 8 * part + 8)
        torch.autograd.backward(functional.cross_entropy(network(images[here]), labels[here]) / 2)
    for name, expected in gradients(network).items():
        # Averaged after the second micro-batch only, and then over both.
        assert not torch.allclose(first["gradients 0"][name], second["gradients 0"][name])
        for said in (first, second):
            torch.testing.assert_close(said["gradients 1"][name], expected, rtol=1e-9, atol=1e-12)
    for name, expected in network.named_buffers():
        assert torch.equal(first["buffers"][name], second["buffers"][name])
        torch.testing.assert_close(first["buffers"][name], expected, rtol=1e-12, atol=1e-12)
