"""The machine's rate of multiply-adds: a product of square matrices, by whichever library here is fastest at it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.cuda import CudaMeter
from resnet_dsl.bench.runners.networks import DTYPES, settle
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step

SIDES = {"cpu": 2048, "cuda": 8192}
TRIALS = 3


class MatMul:
    """A runner whose batch size means nothing; the output is the number of operations of a call."""

    def __init__(self, load: Load) -> None:
        settle(load)
        self.meter: Meter = CudaMeter() if load.device == "cuda" else CpuMeter()
        self._load, self._side = load, SIDES[load.device]
        self.about = {"product": f"{self._side}×{self._side}×{self._side}"}

    def prepare(self, batch: int) -> Step:
        operations = 2.0 * self._side**3
        steps = [
            Step(call, lambda: [operations], {"by": name})
            for name, call in self._products().items()
        ]
        for step in steps:
            self.meter.time(step)
        return min(steps, key=lambda step: min(self.meter.time(step) for _ in range(TRIALS)))

    def _products(self) -> dict[str, Callable[[], object]]:
        """The products of this precision, by the library that computes them."""
        precision, device, size = self._load.precision, self._load.device, (self._side,) * 2
        if precision == "int8":
            a, b = (
                torch.randint(-127, 128, size, dtype=torch.int8, device=device) for _ in range(2)
            )
            return {"torch": lambda: torch._int_mm(a, b)}
        x, y = (torch.randn(size, device=device).to(DTYPES[precision]) for _ in range(2))
        found: dict[str, Callable[[], object]] = {"torch": lambda: x @ y}
        if device == "cpu" and precision == "fp32":
            first, second = x.numpy(), y.numpy()
            found["numpy"] = lambda: np.matmul(first, second)
        return found


def open_runner(load: Load) -> MatMul:
    """The matrices."""
    return MatMul(load)
