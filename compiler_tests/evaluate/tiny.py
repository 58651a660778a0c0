"""Small networks with weights drawn by chance, and what they are made of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.passes.numbers import Numbers, Precision
from resnet_dsl.weights.state import entries, from_file
from resnet_dsl.weights.store import SeededWeights

RESIDUAL = """\
name: tiny
input: {channels: 3, size: 8}
classes: 7
stem: cifar
stages:
  - {block: basic, depth: 1, width: 8}
  - {block: basic, depth: 1, width: 12, stride: 2}
head: classifier
"""

VGG = """\
name: vggish
input: {channels: 3, size: 8}
classes: 7
norm: none
stages:
  - {block: vgg, depth: 1, width: 8}
  - {block: vgg, depth: 1, width: 6}
head: {vgg: {width: 9, size: 2}}
"""


def compiled(folder: Path, text: str = RESIDUAL, *overrides: str) -> Compilation:
    """The spec of a text, written to a folder by its name."""
    name = text.split()[1]
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return compile_spec(file, overrides)


def drawn(compilation: Compilation, folder: Path, seed: int = 0) -> Path:
    """A file of weights in which statistics and biases are drawn, too."""
    chance = np.random.default_rng(seed)
    tensors = {}
    for entry in entries(compilation.graph, SeededWeights(seed)):
        array = np.array(entry.load())
        if array.dtype == np.float32 and array.ndim == 1:
            array += chance.uniform(0, 0.5, array.shape).astype(np.float32)
        tensors[entry.name] = array
    file = folder / f"{compilation.spec.name}{seed}.safetensors"
    save_file(tensors, file)
    return file


def graph_of(
    compilation: Compilation,
    weights: Path,
    *,
    dynamic: bool = False,
    precision: Precision = "fp32",
) -> bytes:
    """The ONNX file of a network with the weights of a file."""
    found, _, _ = from_file(weights, compilation.graph)
    graph = compilation.inference_graph(numbers=Numbers(precision), fixed_size=not dynamic)
    stream = io.BytesIO()
    write_model(graph, found, stream, OnnxOptions(dynamic_size=dynamic))
    return stream.getvalue()
