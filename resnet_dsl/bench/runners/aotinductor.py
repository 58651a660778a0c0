"""AOTInductor: the exported module compiled to a library, without Python; on a GPU captured as a CUDA graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch._inductor.compile_fx  # beforehand: libraries do not count as memory
from torch import Tensor
from torch._inductor import aoti_compile_and_package, aoti_load_package

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.cuda import CudaMeter
from resnet_dsl.bench.runners.graphs import captured
from resnet_dsl.bench.runners.networks import image_tensor, network, settle
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step, first_numbers


class AotInductor:
    """A package for each batch size, in a folder that goes with the process."""

    def __init__(self, load: Load) -> None:
        settle(load)
        self._cuda = load.device == "cuda"
        self.meter: Meter = CudaMeter() if self._cuda else CpuMeter(apart=True)
        self._load = load
        self._network = network(load)
        if self._cuda:
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._folder = tempfile.TemporaryDirectory(prefix="resnet_dsl_aoti_")
        self.about = {"torch": torch.__version__, "CUDA graph": "yes" if self._cuda else "no"}

    def prepare(self, batch: int) -> Step:
        given = image_tensor(self._load, batch)
        if self._cuda:
            given = given.contiguous(memory_format=torch.channels_last)
        package = self._package(given, batch)
        with torch.no_grad():
            if not self._cuda:
                return Step(lambda: package(given), lambda: _numbers(package(given)))
            replay, scores = captured(lambda: package(given))

        def output() -> list[float]:
            replay()
            torch.cuda.synchronize()
            return _numbers(scores)

        return Step(replay, output)

    def _package(self, given: Tensor, batch: int) -> Callable[[Tensor], Tensor]:
        path = str(Path(self._folder.name) / f"batch{batch}.pt2")
        with torch.no_grad():
            program = torch.export.export(self._network, (given,))
            aoti_compile_and_package(
                program, package_path=path, inductor_configs={"freezing": True}
            )
        loaded: Callable[[Tensor], Tensor] = aoti_load_package(path)
        return loaded


def _numbers(scores: Tensor) -> list[float]:
    return first_numbers(scores.float().cpu().numpy())


def open_runner(load: Load) -> AotInductor:
    """The module, not compiled yet."""
    return AotInductor(load)
