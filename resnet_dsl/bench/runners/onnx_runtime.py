"""ONNX Runtime: a graph as `build --target onnx` writes it, one session for every batch size."""

from __future__ import annotations

import numpy as np
import onnxruntime

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import CpuMeter, Step, first_numbers, images


class OnnxRuntime:
    """A session on the CPU, or on the GPU with its images there."""

    def __init__(self, load: Load) -> None:
        assert load.file is not None
        self.meter = CpuMeter()
        self._shape, self._device = load.shape, load.device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = load.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin would take the cores from whoever else is at work, and these figures with them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        provider = "CUDAExecutionProvider" if load.device == "cuda" else "CPUExecutionProvider"
        self._session = onnxruntime.InferenceSession(load.file, options, providers=[provider])
        if provider not in self._session.get_providers():
            raise NotImplementedError("this ONNX Runtime cannot load its CUDA libraries")
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self.about = {"ONNX Runtime": onnxruntime.__version__, "provider": provider}

    def prepare(self, batch: int) -> Step:
        array = images(batch, self._shape)
        if self._device == "cuda":
            return self._bound(array)
        given = {self._input: array}
        return Step(
            lambda: self._session.run(None, given),
            lambda: first_numbers(np.asarray(self._session.run([self._output], given)[0])),
        )

    def _bound(self, array: np.typing.NDArray[np.float32]) -> Step:
        """Images and scores that stay on the GPU, as other backends have them."""
        binding = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0)
        binding.bind_ortvalue_input(self._input, value)
        binding.bind_output(self._output, "cuda", 0)

        def output() -> list[float]:
            self._session.run_with_iobinding(binding)
            return first_numbers(binding.copy_outputs_to_cpu()[0])

        return Step(lambda: self._session.run_with_iobinding(binding), output)


def open_runner(load: Load) -> OnnxRuntime:
    """The graph in a session."""
    return OnnxRuntime(load)
