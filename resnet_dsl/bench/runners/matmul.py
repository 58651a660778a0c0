"""The machine's rate of operations: a product of square matrices, by whichever library here is fastest at it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step

SIDES = {"cpu": 1024, "cuda": 8192}
LARGEST = 8192
LEAST_S = 0.005
"""A product that takes less is too small to keep many cores at work."""

TRIALS = 3


class MatMul:
    """A runner whose batch size means nothing; the output is the number of operations of a call."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.about: dict[str, str] = {}
        self.meter: Meter
        if load.device == "cuda":
            from resnet_dsl.bench.runners.cuda import CudaMeter

            self.meter = CudaMeter()
        else:
            self.meter = CpuMeter()
        if find_spec("torch") is not None:
            from resnet_dsl.bench.runners.networks import settle

            settle(load)

    def prepare(self, batch: int) -> Step:
        side = SIDES[self._load.device]
        step, seconds = self._fastest(side)
        while seconds < LEAST_S and side < LARGEST:
            side *= 2
            step, seconds = self._fastest(side)
        return step

    def _fastest(self, side: int) -> tuple[Step, float]:
        """The fastest of the products of matrices of side × side, and its least time."""
        operations = 2.0 * side**3
        steps = [
            Step(call, lambda: [operations], {"by": name})
            for name, call in self._products(side).items()
        ]
        if not steps:
            raise NotImplementedError(f"no library here multiplies {self._load.precision} matrices")
        times: list[list[float]] = [[] for _ in steps]
        for _ in range(TRIALS + 1):  # in turn
            for place, step in enumerate(steps):
                times[place].append(self.meter.time(step))
        least = [min(one[1:]) for one in times]  # the first is a warm-up
        place = min(range(len(steps)), key=lambda place: least[place])
        return steps[place], least[place]

    def _products(self, side: int) -> dict[str, Callable[[], object]]:
        """The products of this precision, by the library that computes them."""
        load, found = self._load, dict[str, Callable[[], object]]()
        if load.device == "cpu" and load.precision == "fp32":
            x, y = np.random.default_rng(0).standard_normal((2, side, side), np.float32)
            found["NumPy"] = lambda: np.matmul(x, y)
        if find_spec("torch") is not None:
            from resnet_dsl.bench.runners.products_torch import products

            found |= products(load, side)
        if load.device == "cpu" and find_spec("onnxruntime") is not None:
            from resnet_dsl.bench.runners.products_onnx import products as of_graphs

            found |= of_graphs(load, side)
        return found


def open_runner(load: Load) -> MatMul:
    """The matrices."""
    return MatMul(load)
