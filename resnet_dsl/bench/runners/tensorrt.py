"""TensorRT: an engine with a profile for each batch size, captured as a CUDA graph; memory and streams are torch's."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.cuda import CudaMeter
from resnet_dsl.bench.runners.graphs import captured
from resnet_dsl.bench.runners.runner import Step, first_numbers, images

_RTX = b"vtrt"


class TensorRt:
    """An engine of either product, by what its first bytes say."""

    def __init__(self, load: Load) -> None:
        assert load.file is not None
        self.meter = CudaMeter(outside=True)
        self._shape = load.shape
        plan = Path(load.file).read_bytes()
        product = "tensorrt_rtx" if plan.startswith(_RTX) else "tensorrt"
        self._trt: Any = import_module(product)
        self._log = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RuntimeError(f"{product} does not load its engine on this GPU")
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        self._input, self._output = names
        self.about = {product: str(self._trt.__version__), "CUDA graph": "yes"}

    def prepare(self, batch: int) -> Step:
        context = self._engine.create_execution_context()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        context.set_optimization_profile_async(self._profile(batch), stream.cuda_stream)
        stream.synchronize()
        given = torch.from_numpy(images(batch, self._shape)).cuda()
        context.set_input_shape(self._input, tuple(given.shape))
        scores = torch.empty(tuple(context.get_tensor_shape(self._output)), device="cuda")
        context.set_tensor_address(self._input, given.data_ptr())
        context.set_tensor_address(self._output, scores.data_ptr())

        def call() -> Tensor:
            assert given.is_cuda  # and kept for as long as the engine reads it
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise RuntimeError("the engine cannot be run")
            return scores

        replay, _ = captured(call)

        def output() -> list[float]:
            replay()
            torch.cuda.synchronize()
            return first_numbers(scores.cpu().numpy())

        return Step(replay, output)

    def _profile(self, batch: int) -> int:
        """The profile that is for just this batch size."""
        for index in range(self._engine.num_optimization_profiles):
            _, _, most = self._engine.get_tensor_profile_shape(self._input, index)
            if most[0] == batch:
                return index
        raise NotImplementedError(f"the engine has no profile for batch {batch}")


def open_runner(load: Load) -> TensorRt:
    """The engine on the GPU."""
    return TensorRt(load)
