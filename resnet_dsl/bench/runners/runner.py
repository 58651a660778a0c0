"""What every backend's module gives, and how its time and memory are taken."""

from __future__ import annotations

import ctypes
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.bench.messages import Measured

OUTPUTS = 10
"""So many of the first image's outputs are compared between backends."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch size, ready to run. `call` starts a pass, which on the CPU is over when it returns; `output` runs one
    and gives the first numbers of the first image; `about` is what was chosen for it, and `trial_s` the seconds that
    choosing took, which are none of the backend's."""

    call: Callable[[], object]
    output: Callable[[], list[float]]
    about: Mapping[str, str] = field(default_factory=dict)
    trial_s: float = 0.0


class Meter(ABC):
    """Time and memory of steps."""

    @abstractmethod
    def begin(self) -> None:
        """A batch size is about to be prepared."""

    @abstractmethod
    def settle(self) -> None:
        """It is prepared: what only the preparation took does not count."""

    @abstractmethod
    def memory(self) -> int | None:
        """The most bytes held since `settle`, with the weights and without the libraries; None if it cannot be told."""

    @abstractmethod
    def time(self, step: Step) -> float:
        """The seconds of one call, waited for."""

    @abstractmethod
    def measure(self, step: Step, seconds: float) -> Measured:
        """Call for about so many seconds, at least once."""


class Runner(Protocol):
    """A network in a backend."""

    about: dict[str, str]
    meter: Meter

    def prepare(self, batch: int) -> Step:
        """Get ready for a batch size; what compiles, compiles here."""
        ...


def images(batch: int, shape: list[int]) -> NDArray[np.float32]:
    """Noise of the shape (N, C, H, W). The first image is the same for every N."""
    drawn = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
    return np.ascontiguousarray(drawn)


def first_numbers(output: NDArray[np.generic]) -> list[float]:
    """What is compared of an output (N, …)."""
    return [float(value) for value in output[0].reshape(-1)[:OUTPUTS].astype(np.float64)]


class CpuMeter(Meter):
    """The clock, and the largest resident set of this process.

    `apart` says that each batch size holds memory of its own, and is counted without that of the others.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self._apart = apart
        self._base = self._before = _resident() or 0
        self._loaded = 0
        self._begun = False

    def begin(self) -> None:
        _give_back()
        self._before = _resident() or 0
        if not self._begun:
            self._begun, self._loaded = True, self._before - self._base

    def settle(self) -> None:
        _give_back()
        _forget_peak()

    def memory(self) -> int | None:
        peak = _peak()
        if peak is None:
            return None
        held = self._loaded + peak - self._before if self._apart else peak - self._base
        return max(held, 0)

    def time(self, step: Step) -> float:
        started = time.perf_counter()
        step.call()
        return time.perf_counter() - started

    def measure(self, step: Step, seconds: float) -> Measured:
        times: list[float] = []
        begin = now = time.perf_counter()
        while now - begin < seconds or not times:
            step.call()
            before, now = now, time.perf_counter()
            times.append(now - before)
        return Measured(times, len(times) / (now - begin))


def _status(key: str) -> int | None:
    """A line of the kernel's account of this process, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _resident() -> int | None:
    return _status("VmRSS:") or _largest()


def _peak() -> int | None:
    return _status("VmHWM:") or _largest()


def _largest() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_peak() -> None:
    """Count the peak from now on, where the system can."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _give_back() -> None:
    """Return what is free to the system, so that it is not counted again."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
