"""An ONNX graph as what turns images into scores, run by ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.refusal import refusal

_TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A graph that takes images (N, C, H, W) and gives scores (N, classes). Sizes that are None are any; `spec_hash` is
    that of the spec that our own graphs are compiled from."""

    path: Path
    session: Any
    input: str
    output: str
    dtype: type[np.floating[Any]]
    batch: int | None
    channels: int
    height: int | None
    width: int | None
    classes: int | None
    spec_hash: str | None
    on_gpu: bool

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its images; None where they are not both fixed."""
        if self.height is None or self.width is None:
            return None
        return self.height, self.width

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (B, classes) float32, on the device of the images. A fixed batch is filled up, and run as often as it
        takes. Raises CompileError RD675."""
        pixels = images.cpu().contiguous().numpy().astype(self.dtype, copy=False)
        step = self.batch or len(pixels)
        scores = [self._run(pixels[start : start + step]) for start in range(0, len(pixels), step)]
        return torch.from_numpy(np.concatenate(scores)).to(images.device)

    def _run(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        count, missing = len(pixels), (self.batch or len(pixels)) - len(pixels)
        if missing:
            pixels = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)])
        try:
            (scores,) = self.session.run([self.output], {self.input: pixels})
        except Exception as error:  # ONNX Runtime's have no common class
            raise _failed(self.path, "cannot be run", error) from error
        if scores.shape[0] != len(pixels) or scores.size != len(pixels) * scores.shape[1]:
            raise _shape_refused(self.path, "output", scores.shape, "(N, classes)")
        flat = scores.reshape(len(pixels), -1)[:count]
        return np.ascontiguousarray(flat, np.float32)


def open_graph(path: Path, device: torch.device) -> OnnxNetwork:
    """The graph in a file. Raises CompileError RD675 where ONNX Runtime cannot read it, or it is no classifier of
    images."""
    wanted = "CUDAExecutionProvider"
    on_gpu = device.type == "cuda" and wanted in onnxruntime.get_available_providers()
    providers = [(wanted, {"device_id": device.index or 0})] if on_gpu else []
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what else it has to say is for its own developers
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=[*providers, "CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's have no common class
        raise _failed(path, "cannot be read", error) from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(f"`{item.name}`" for item in inputs) or "none"
        raise refusal("RD675", f"`{path}` has not one input", why=f"its inputs are {names}")
    (images,) = inputs
    shape = [size if isinstance(size, int) else None for size in images.shape]
    if len(shape) != 4 or shape[1] is None:
        raise _shape_refused(path, "input", images.shape, "(N, channels, height, width)")
    if images.type not in _TYPES:
        raise refusal(
            "RD675",
            f"the input of `{path}` is a {images.type}",
            why="images are given in float32, float16 or float64",
            hint="build the graph with --precision fp32 or fp16",
        )
    output, classes = _scores(path, session.get_outputs())
    return OnnxNetwork(
        path=path,
        session=session,
        input=images.name,
        output=output,
        dtype=_TYPES[images.type],
        batch=shape[0],
        channels=shape[1],
        height=shape[2],
        width=shape[3],
        classes=classes,
        spec_hash=session.get_modelmeta().custom_metadata_map.get("spec_sha256") or None,
        on_gpu=on_gpu,
    )


def _scores(path: Path, outputs: list[Any]) -> tuple[str, int | None]:
    """The name of the first output that is a list of classes, and how many there are."""
    for output in outputs:
        sizes = [size if isinstance(size, int) else None for size in output.shape]
        if len(sizes) == 2 or (len(sizes) == 4 and sizes[2:] == [1, 1]):
            return output.name, sizes[1]
    shape = outputs[0].shape if outputs else ()
    raise _shape_refused(path, "output", shape, "(N, classes)")


def _shape_refused(path: Path, what: str, shape: Any, wanted: str) -> CompileError:
    shown = ", ".join(map(str, shape))
    return refusal(
        "RD675",
        f"`{path}` is no classifier of images",
        why=f"its {what} has the shape ({shown}), and a classifier's is {wanted}",
        hint="give a graph with a head, as `resnet-dsl build --target onnx` writes it",
    )


def _failed(path: Path, what: str, error: Exception) -> CompileError:
    text = str(error).strip().split("\n")[0]
    return refusal("RD675", f"`{path}` {what}", why=f"ONNX Runtime says: {text[:300]}")
