"""An ONNX file of the compiler's as a target: every value by name, in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_dsl.backends.onnx.emit import OUTPUT
from resnet_dsl.calibrate.taps import TappedSession
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Quantize
from resnet_dsl.verify.exact import Departure
from resnet_dsl.verify.onnx_file import OnnxFile, read
from resnet_dsl.verify.own_constants import differing
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.verify.targets import About
from resnet_dsl.weights.store import Weights

RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"


class OnnxTarget:
    """A file and the graph that it was written from; `made` says that it was made for this verification alone.

    Raises CompileError RD681 where it cannot be run.
    """

    def __init__(self, file: OnnxFile, graph: Graph, precision: str, *, made: bool = False) -> None:
        self.path = file.path  # and not the file, which holds its weights
        self.graph = graph
        self.about = About(
            "onnx",
            precision,
            RUNTIME,
            None if made else file.path,
            None if made else file.sha256,
        )
        # On a CPU, float16 is computed in float32, and what lies between two operations is not always rounded.
        half = any(node.dtype == "float16" for node in graph.nodes)
        codes = any(isinstance(node.op, Quantize) for node in graph.nodes)
        self.arithmetic = Arithmetic(loose=half, fused=codes)

    @cached_property
    def _plain(self) -> TappedSession:
        if not _misread(self.graph):
            return TappedSession(self.path, [OUTPUT], optimise=True)
        self.about = replace(self.about, runtime=f"{RUNTIME}, not optimised")
        return TappedSession(self.path, [OUTPUT])

    def differing(self, weights: Weights) -> Sequence[Departure]:
        """The constants that are not, to the bit, those which the weights make."""
        return differing(read(self.path), self.graph, weights)

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes)"""
        return as_tensor(self._plain.run(images.numpy())[OUTPUT])

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        """Every floating-point value, computed one operation after another, as the file has them."""
        final = self.graph.nodes[self.graph.output - 1].name
        session = TappedSession(self.path)
        found = session.run(images.numpy())
        values = {name: as_tensor(value) for name, value in found.items() if name != session.input}
        values[final] = values.pop(OUTPUT)
        return values


def as_tensor(array: NDArray[Any]) -> Tensor:
    """The same numbers for torch."""
    return torch.from_numpy(np.ascontiguousarray(array))


def _misread(graph: Graph) -> bool:
    """Whether ONNX Runtime 1.31 computes something else when it optimises: it takes float8 for int8, and makes codes of
    half-precision biases with scales that half precision cannot hold."""
    types = {node.dtype for node in graph.nodes}
    codes = bool(types & {"int8", "uint8"})
    return "float8_e4m3fn" in types or (codes and bool(types & {"float16", "bfloat16"}))
