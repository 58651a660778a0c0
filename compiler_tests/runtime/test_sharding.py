"""Networks spread over processes: they learn as whole ones do, and their states are whole when asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from compiler_tests.runtime.nets import Net, batch, net
from compiler_tests.runtime.together import together
from resnet_dsl.runtime import sharding
from resnet_dsl.runtime.optimisers import Lamb
from resnet_dsl.runtime.parallel import Processes
from resnet_dsl.runtime.sharding import (
    average_fsdp,
    blend_sharded,
    find_blocks,
    load_whole_optimiser_state,
    load_whole_state,
    recompute_sharded,
    whole_optimiser_state,
    whole_state,
    wrap_fsdp,
)
from resnet_dsl.runtime.synchronised_norm import synchronise

CPU = torch.device("cpu")
ALONE = Processes(0, 0, 1, CPU)


def test_blocks_are_found_inner_ones_first_and_once():
    network = net(depth=2)
    blocks = find_blocks(network)
    assert set(blocks) == {*network.layer1, *network.layer2}
    nested = nn.Sequential(nn.Sequential(network.layer1, network.layer1), nn.Flatten())
    found = find_blocks(nested)
    assert found[-2:] == [network.layer1, nested[0]]
    assert len(found) == 4


@dataclass
class Run:
    """A network that learns, its optimiser, and its average."""

    network: Net
    optimiser: torch.optim.Optimizer
    average: AveragedModel


def begin(processes: Processes, seed: int = 0) -> Run:
    """A net in double, spread over the processes if they are several."""
    network = net(seed, depth=2).double()
    synchronise(network, processes.device)
    recompute_sharded(network.layer1)
    blend = blend_sharded(get_ema_multi_avg_fn(0.9))  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
    wrap_fsdp(average.module, processes)
    wrap_fsdp(network, processes)
    return Run(network, Lamb(network.parameters(), lr=0.01, weight_decay=0.01), average)


def go_on(run: Run, processes: Processes, steps: int) -> None:
    """Steps of two micro-batches, of which each process has its part."""
    images, labels = batch(16, torch.float64)
    size = 8 // processes.world
    for _ in range(steps):
        for part in range(2):
            average_fsdp(run.network, now=part == 1)
            here = slice(8 * part + size * processes.rank, 8 * part + size * (processes.rank + 1))
            loss = functional.cross_entropy(run.network(images[here]), labels[here]) / 2
            torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(run.network.parameters(), 0.1)
        run.optimiser.step()
        run.optimiser.zero_grad()
        run.average.update_parameters(run.network)


def whole(run: Run) -> dict[str, Any]:
    """All that there is to save of a run."""
    return {
        "network": whole_state(run.network),
        "optimiser": whole_optimiser_state(run.network, run.optimiser),
        "average": whole_state(run.average),
    }


def loaded(state: dict[str, Any], processes: Processes) -> Run:
    """A run of other weights, which goes on from what was saved."""
    run = begin(processes, seed=7)
    load_whole_state(run.network, state["network"])
    load_whole_optimiser_state(run.network, run.optimiser, state["optimiser"])
    load_whole_state(run.average, state["average"])
    return run


def tensors(state: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists, by their path."""
    if isinstance(state, dict):
        parts = [tensors(value, f"{name}/{key}") for key, value in state.items()]
    elif isinstance(state, list | tuple):  # torch gives one for the other
        parts = [tensors(value, f"{name}/{key}") for key, value in enumerate(state)]
    else:
        return {name: state}
    return {key: value for part in parts for key, value in part.items()}


def close(one: Any, other: Any, tolerance: float) -> bool:
    if not isinstance(one, Tensor):
        return bool(one == other)
    return one.shape == other.shape and torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def equal(one: dict[str, Any], other: dict[str, Any], tolerance: float = 0.0) -> bool:
    """Whether two states are the same, but for rounding."""
    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(close(a[key], b[key], tolerance) for key in a)


def test_one_process_keeps_the_network_whole_and_goes_on_from_its_state():
    run = begin(ALONE)
    assert not isinstance(run.network, FSDPModule)
    go_on(run, ALONE, 2)
    state = copy.deepcopy(whole(run))
    assert list(state["network"]) == list(net(depth=2).state_dict())
    go_on(run, ALONE, 1)
    other = loaded(state, ALONE)
    go_on(other, ALONE, 1)
    assert equal(whole(run), whole(other))


# What follows is run by two processes.


def segment_of_all(blocks: list[nn.Module]) -> Iterator[list[nn.Module]]:
    yield blocks


def spread(processes: Processes) -> list[dict[str, Any]]:
    vars(sharding)["segments"] = segment_of_all  # more than one block, as in a deep stage
    run = begin(processes, seed=processes.rank)
    go_on(run, processes, 1)
    before = copy.deepcopy(whole(run))
    go_on(run, processes, 1)
    other = loaded(before, processes)
    assert isinstance(other.network, FSDPModule)
    assert isinstance(other.network.layer1[0], FSDPModule)
    assert all(isinstance(parameter.data, DTensor) for parameter in other.network.parameters())
    go_on(other, processes, 1)
    return [before, whole(run), whole(other)]


@pytest.mark.slow
def test_two_processes_learn_save_and_go_on_as_one(tmp_path):
    (before, after, resumed), second = together(spread, tmp_path)
    assert not tensors(second)  # the first has it all
    assert equal(after, resumed)
    run = begin(ALONE)
    go_on(run, ALONE, 1)
    assert equal(before, whole(run), tolerance=1e-9)
    go_on(run, ALONE, 1)
    assert equal(after, whole(run), tolerance=1e-9)
    # One process goes on from what two have saved.
    other = loaded(before, ALONE)
    go_on(other, ALONE, 1)
    assert equal(after, whole(other), tolerance=1e-9)


def test_what_is_no_sequence_of_blocks_is_refused():
    with pytest.raises(TypeError, match=r"a stage to recompute is an nn\.Sequential, not Conv2d"):
        recompute_sharded(net().conv1)  # type: ignore[arg-type]
