"""How time and memory are counted on a GPU, with a GPU that is none: its clock and its memory are set by hand."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from resnet_dsl.bench.candidates import BACKENDS
from resnet_dsl.bench.runners import cuda
from resnet_dsl.bench.runners.runner import Step

CALL_S = 0.02


class Gpu:
    """A GPU on which each call takes 20 ms, and its memory."""

    def __init__(self) -> None:
        self.now, self.allocated, self.peak, self.free = 0.0, 0, 0, 1000

    def call(self) -> None:
        self.now += CALL_S

    def event(self) -> Event:
        return Event(self)


class Event:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at = gpu, 0.0

    def record(self) -> None:
        self.at = self.gpu.now

    def synchronize(self) -> None:
        """There is nothing to wait for."""

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    made = Gpu()
    replaced = {
        "init": lambda: None,
        "synchronize": lambda: None,
        "memory_allocated": lambda: made.allocated,
        "max_memory_allocated": lambda: made.peak,
        "reset_peak_memory_stats": lambda: None,
        "mem_get_info": lambda: (made.free, 1000),
    }
    for name, function in replaced.items():
        monkeypatch.setattr(torch.cuda, name, function)
    monkeypatch.setattr(cuda, "_event", made.event)
    monkeypatch.setattr(cuda, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_latencies_wait_for_each_call_and_rates_are_of_calls_in_a_queue(gpu: Gpu) -> None:
    found = cuda.CudaMeter().measure(Step(gpu.call, list), 1.0)
    assert found.times == [pytest.approx(CALL_S)] * len(found.times)
    assert len(found.times) == pytest.approx(0.5 / CALL_S, abs=1)
    assert found.rate == pytest.approx(1 / CALL_S)
    assert gpu.now == pytest.approx(0.5 + 0.5, abs=2 * cuda._QUEUE_S)


def test_memory_is_the_weights_and_what_a_batch_size_adds(gpu: Gpu) -> None:
    meter = cuda.CudaMeter()
    gpu.allocated = 100  # the weights
    meter.begin()
    gpu.allocated, gpu.peak = 130, 170
    meter.settle()
    assert meter.memory() == 170
    meter.begin()  # the next batch size, beside what the first one keeps
    gpu.allocated, gpu.peak = 150, 200
    meter.settle()
    assert meter.memory() == 100 + 200 - 130


def test_what_torch_does_not_allocate_is_seen_from_outside(gpu: Gpu) -> None:
    meter = cuda.CudaMeter(outside=True)
    gpu.free = 700
    meter.begin()
    gpu.free = 600
    meter.settle()
    assert meter.memory() == 400


@pytest.mark.parametrize("name", sorted({backend.runner for backend in BACKENDS} | {"matmul"}))
def test_every_runner_can_be_imported_without_a_gpu(name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    assert callable(import_module(f"resnet_dsl.bench.runners.{name}").open_runner)
