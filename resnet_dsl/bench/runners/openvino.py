"""OpenVINO: the same ONNX graph, compiled for each batch size."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import CpuMeter, Step, first_numbers, images

_openvino: Any = import_module("openvino")  # it is no dependency, and has no stubs


class OpenVino:
    """A graph that is compiled anew for each batch size."""

    def __init__(self, load: Load) -> None:
        assert load.file is not None
        self.meter = CpuMeter(apart=True)
        self._shape = load.shape
        self._core = _openvino.Core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if load.precision == "bf16" and "BF16" not in capabilities:
            raise NotImplementedError("this processor has no bfloat16 instructions")
        self._options = {
            "INFERENCE_NUM_THREADS": load.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if load.precision == "bf16" else "f32",
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        self._model = self._core.read_model(load.file)
        self.about = {"OpenVINO": _openvino.__version__.partition("-")[0]}

    def prepare(self, batch: int) -> Step:
        model = self._model.clone()
        model.reshape([batch, *self._shape])
        compiled = self._core.compile_model(model, "CPU", self._options)
        request = compiled.create_infer_request()
        request.set_input_tensor(_openvino.Tensor(images(batch, self._shape)))

        def output() -> list[float]:
            request.infer()
            return first_numbers(np.asarray(request.get_output_tensor(0).data))

        return Step(request.infer, output)


def open_runner(load: Load) -> OpenVino:
    """The graph, read."""
    return OpenVino(load)
