"""Time and memory on a GPU, by torch."""

from __future__ import annotations

import time

import torch

from resnet_dsl.bench.messages import Measured
from resnet_dsl.bench.runners.runner import Meter, Step

_QUEUE_S = 0.1
"""So much work is queued at once where the rate is measured: long beside the start of the first call."""


class CudaMeter(Meter):
    """The clock with a wait after each call for latencies, events around queued calls for rates, and the most memory
    that torch has allocated; with `outside`, that is held on the device by anyone, for what torch does not allocate."""

    def __init__(self, *, outside: bool = False) -> None:
        self._outside = outside
        torch.cuda.init()  # type: ignore[no-untyped-call]
        self._base = self._before = self._now()
        self._loaded: int | None = None

    def begin(self) -> None:
        torch.cuda.synchronize()
        self._before = self._now()
        if self._loaded is None:
            self._loaded = self._before - self._base

    def settle(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    def memory(self) -> int | None:
        peak = self._now() if self._outside else torch.cuda.max_memory_allocated()
        return max(0, peak - self._before + (self._loaded or 0))

    def time(self, step: Step) -> float:
        torch.cuda.synchronize()
        started = time.perf_counter()
        step.call()
        torch.cuda.synchronize()
        return time.perf_counter() - started

    def measure(self, step: Step, seconds: float) -> Measured:
        times: list[float] = []
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds / 2 or not times:
            times.append(self.time(step))
        queued = max(1, round(_QUEUE_S / sorted(times)[len(times) // 2]))
        calls, spent = 0, 0.0
        while spent < seconds / 2:
            calls += queued
            spent += _queue(step, queued)
        return Measured(times, calls / spent)

    def _now(self) -> int:
        if not self._outside:
            return torch.cuda.memory_allocated()
        free, total = torch.cuda.mem_get_info()
        return total - free


def _queue(step: Step, calls: int) -> float:
    """The seconds between the start of the first call and the end of the last, on the GPU."""
    start, end = _event(), _event()
    start.record()
    for _ in range(calls):
        step.call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
