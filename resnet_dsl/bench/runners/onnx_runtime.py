"""ONNX Runtime: a graph as `build --target onnx` writes it, one session for every batch size."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import CpuMeter, Meter, Step, first_numbers, images

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def session(model: str | bytes, load: Load) -> Any:
    """A model, by its path or its bytes, as it is measured here. Raises NotImplementedError without its provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = load.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin would take the cores from whoever else is at work, and these figures with them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    provider = PROVIDERS[load.device]
    if provider not in onnxruntime.get_available_providers():
        raise NotImplementedError("the ONNX Runtime installed is without CUDA")
    made = onnxruntime.InferenceSession(model, options, providers=[provider])
    if provider not in made.get_providers():
        raise NotImplementedError("ONNX Runtime cannot load the libraries of CUDA")
    return made


class OnnxRuntime:
    """A session on the CPU, or on the GPU with its images there."""

    def __init__(self, load: Load) -> None:
        assert load.file is not None
        self.meter = _meter(load)
        self._load = load
        self._session = session(load.file, load)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.about = {"ONNX Runtime": onnxruntime.__version__}

    def prepare(self, batch: int) -> Step:
        array = images(batch, self._load.shape)
        if self._load.device == "cuda":
            return self._bound(array)
        given, fetched = {self._input: array}, [self._output]
        return Step(
            lambda: self._session.run(fetched, given),
            lambda: first_numbers(np.asarray(self._session.run(fetched, given)[0])),
        )

    def _bound(self, array: NDArray[np.float32]) -> Step:
        """Images and scores that stay on the GPU, as other backends have them."""
        binding = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0)
        binding.bind_ortvalue_input(self._input, value)
        binding.bind_output(self._output, "cuda", 0)

        def output() -> list[float]:
            self._session.run_with_iobinding(binding)
            return first_numbers(binding.copy_outputs_to_cpu()[0])

        return Step(lambda: self._session.run_with_iobinding(binding), output)


def _meter(load: Load) -> Meter:
    """On a GPU, memory is what anyone holds there, which torch can tell."""
    if load.device == "cuda" and find_spec("torch") is not None:
        from resnet_dsl.bench.runners.cuda import CudaMeter

        return CudaMeter(outside=True)
    return CpuMeter()


def open_runner(load: Load) -> OnnxRuntime:
    """The graph in a session."""
    return OnnxRuntime(load)
