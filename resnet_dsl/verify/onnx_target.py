"""An ONNX file of the compiler's as a target: every value by name, in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.backends.onnx.emit import OUTPUT
from resnet_dsl.calibrate.taps import TappedSession
from resnet_dsl.ir.graph import Graph
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.verify.targets import About


class OnnxTarget:
    """A file and the graph that it was written from. Raises CompileError RD681 where it cannot be run."""

    def __init__(
        self, path: Path, graph: Graph, precision: str, about: About | None = None
    ) -> None:
        self.path = path
        self.graph = graph
        runtime = f"ONNX Runtime {onnxruntime.__version__}"
        self.about = about or About("onnx", precision, runtime)
        # On a CPU, float16 is computed in float32, and what lies between two operations is not always rounded.
        half = any(node.dtype == "float16" for node in graph.nodes)
        self.arithmetic = Arithmetic(loose=half)

    @cached_property
    def _plain(self) -> TappedSession:
        return TappedSession(self.path, [OUTPUT], optimise=True)

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes)"""
        return _tensor(self._plain.run(images.numpy())[OUTPUT])

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        """Every floating-point value, computed one operation after another, as the file has them."""
        final = self.graph.nodes[self.graph.output - 1].name
        session = TappedSession(self.path)
        found = session.run(images.numpy())
        values = {name: _tensor(value) for name, value in found.items() if name != session.input}
        values[final] = values.pop(OUTPUT)
        return values


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
