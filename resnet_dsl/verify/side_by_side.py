"""Running the targets of one network side by side, on one file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from resnet_dsl.needs import require
from resnet_dsl.verify.emitted import import_emitted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the targets gave for the same images: (N, classes) each."""

    torch: Array
    onnxruntime: Array

    @property
    def largest_difference(self) -> float:
        """The largest difference between them, as a part of the largest output."""
        scale = float(abs(self.torch).max())
        return float(abs(self.onnxruntime - self.torch).max()) / scale


def run_targets(source: Path, weights: Path, model: Path, images: Array) -> Outputs:
    """Run an emitted torch module (its factory is named as its file) and an ONNX graph.

    `images` are (N, C, H, W) and ready for the network. Raises CompileError RD650 where torch or
    ONNX Runtime is missing.
    """
    require("onnxruntime", "torch")
    import onnxruntime
    import torch
    from safetensors.torch import load_file

    network = getattr(import_emitted(source), source.stem)().eval()
    network.load_state_dict(load_file(weights), strict=True)
    with torch.inference_mode():
        expected: Array = network(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    return Outputs(expected, found)
