"""Torch as it is, operation by operation: on the CPU in the faster of the two layouts of images."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.cuda import CudaMeter
from resnet_dsl.bench.runners.networks import image_tensor, network, settle
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step, first_numbers

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
TRIALS, LONG_S = 3, 0.3


class TorchEager:
    """The module, called."""

    def __init__(self, load: Load) -> None:
        settle(load)
        self.meter: Meter = CudaMeter() if load.device == "cuda" else CpuMeter()
        self._load = load
        self._network = network(load)
        if load.device == "cuda":
            self._network.to(memory_format=LAYOUTS[_gpu_layout(load)])  # type: ignore[call-overload]
        self.about = {"torch": torch.__version__}

    def prepare(self, batch: int) -> Step:
        image = image_tensor(self._load, batch)
        if self._load.device == "cuda":
            return self._step(image, _gpu_layout(self._load))
        started = time.perf_counter()
        steps = [self._step(image, layout) for layout in LAYOUTS]
        for step in steps:
            step.call()
        times = {place: self._least(step) for place, step in enumerate(steps)}
        fastest = steps[min(times, key=lambda place: times[place])]
        return replace(fastest, trial_s=time.perf_counter() - started)

    def _least(self, step: Step) -> float:
        """The least time of a few calls, of one where that is long."""
        first = self.meter.time(step)
        trials = TRIALS if first < LONG_S else 1
        return min([first, *(self.meter.time(step) for _ in range(trials - 1))])

    def _step(self, image: Tensor, layout: str) -> Step:
        given = image.contiguous(memory_format=LAYOUTS[layout])

        @torch.inference_mode()
        def call() -> Tensor:
            scores: Tensor = self._network(given)
            return scores

        return Step(call, lambda: first_numbers(call().float().cpu().numpy()), {"layout": layout})


def _gpu_layout(load: Load) -> str:
    """Tensor cores take half types in NHWC."""
    return "NCHW" if load.precision == "fp32" else "NHWC"


def open_runner(load: Load) -> TorchEager:
    """The module with its weights."""
    return TorchEager(load)
