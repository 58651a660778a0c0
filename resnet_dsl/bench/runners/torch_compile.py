"""torch.compile for each batch size: weights frozen into the code, and CUDA graphs where there is a GPU."""

from __future__ import annotations

import torch
import torch._dynamo.config
import torch._inductor.compile_fx  # beforehand: libraries do not count as memory
import torch._inductor.config
from torch import Tensor

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.cuda import CudaMeter
from resnet_dsl.bench.runners.networks import image_tensor, network, settle
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step, first_numbers

_UNTIL_CAPTURED = 3
"""The first call compiles, the second warms up, and the third is captured as a CUDA graph."""


class TorchCompile:
    """The module, compiled by Inductor."""

    def __init__(self, load: Load) -> None:
        settle(load)
        torch._dynamo.config.recompile_limit = 64  # one for each batch size
        torch._inductor.config.freezing = True
        self._cuda = load.device == "cuda"
        self.meter: Meter = CudaMeter() if self._cuda else CpuMeter(apart=True)
        self._load = load
        self._network = network(load)
        if self._cuda:
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._compiled = torch.compile(
            self._network,
            fullgraph=True,
            dynamic=False,
            mode="reduce-overhead" if self._cuda else None,
        )
        self.about = {"torch": torch.__version__, "freezing": "on"}

    def prepare(self, batch: int) -> Step:
        given = image_tensor(self._load, batch)
        if self._cuda:
            given = given.contiguous(memory_format=torch.channels_last)

        @torch.no_grad()  # freezing asks for it
        def call() -> Tensor:
            scores: Tensor = self._compiled(given)
            return scores

        for _ in range(_UNTIL_CAPTURED if self._cuda else 1):
            call()
        return Step(call, lambda: first_numbers(call().float().cpu().numpy()))


def open_runner(load: Load) -> TorchCompile:
    """The module, not compiled yet."""
    return TorchCompile(load)
