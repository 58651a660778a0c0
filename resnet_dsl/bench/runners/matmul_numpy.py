"""The machine's rate of multiply-adds where there is no torch: NumPy's product of float32 matrices."""

from __future__ import annotations

import numpy as np

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import CpuMeter, Step

SIDE = 2048


class MatMul:
    """A runner whose batch size means nothing; the output is the number of operations of a call."""

    def __init__(self) -> None:
        self.meter = CpuMeter()
        self.about = {"product": f"{SIDE}×{SIDE}×{SIDE}"}

    def prepare(self, batch: int) -> Step:
        x, y = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), dtype=np.float32)
        return Step(lambda: np.matmul(x, y), lambda: [2.0 * SIDE**3], {"by": "numpy"})


def open_runner(_load: Load) -> MatMul:
    """The matrices."""
    return MatMul()
