"""Small networks of every kind, their targets, and files of them that are wrong in one place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.verify.numbers import held
from resnet_dsl.verify.onnx_file import read
from resnet_dsl.verify.onnx_target import OnnxTarget
from resnet_dsl.verify.reference import Reference
from resnet_dsl.verify.settle import settled
from resnet_dsl.weights.store import LoadedWeights, SeededWeights

SPEC = """\
name: net
input: {channels: 3, size: 16}
classes: 5
stem: STEM
SECTIONSstages:
  - {block: BLOCK, depth: 2, width: 16MORE}
  - {block: BLOCK, depth: 2, width: 24, stride: 2MORE}
head: HEAD
"""


def text(
    block: str = "basic",
    stem: str = "cifar",
    head: str = "classifier",
    stage: str = "",
    **sections: str,
) -> str:
    """A spec of two stages of a block, with more parameters of the stages and more sections."""
    more = "".join(f"{name}: {value}\n" for name, value in sections.items())
    found = SPEC.replace("STEM", stem).replace("HEAD", head).replace("SECTIONS", more)
    return found.replace("BLOCK", block).replace("MORE", f", {stage}" if stage else "")


PLAIN = text(shortcut="B")
BOTTLENECK = text("bottleneck", stage="expansion: 2")
SPECS: dict[str, str] = {
    "option A": text(shortcut="A"),
    "option B": PLAIN,
    "option C": text(shortcut="C"),
    "option D": text(shortcut="D"),
    "plain": text(shortcut="none"),
    "bottleneck": BOTTLENECK,
    "groups": text("bottleneck", stage="expansion: 2, groups: 4"),
    "dilated": text(stage="dilation: 2"),
    "squeeze and excitation": text("se_basic", stage="reduction: 4"),
    "pre-activation": text("preact_basic", "conv", "preact_classifier"),
    "stochastic depth": text(drop_path="{rate: 0.5, schedule: linear}"),
    "group normalisation": text(norm="{group: {groups: 4}}"),
    "frozen normalisation": text(norm="frozen"),
    "no normalisation": text(norm="none"),
    "silu": text(activation="silu"),
    "gelu": text(activation="gelu"),
    "elu": text(activation="elu"),
    "imagenet stem": text(stem="imagenet"),
    "highway": """\
name: net
input: {channels: 3, size: 16}
classes: 5
norm: none
stages:
  - {block: [conv_layer, highway, highway], width: 16}
  - {block: [conv_layer, highway], width: 24, pool: 2}
head: highway
""",
    "vgg": """\
name: net
input: {channels: 3, size: 16}
classes: 5
norm: none
stages:
  - {block: vgg, depth: 2, width: 16}
  - {block: vgg, depth: 2, width: 24}
head: {vgg: {width: 32, size: 3}}
""",
}


@cache
def folder() -> Path:
    """A folder for all files of a test run."""
    return Path(mkdtemp(prefix="verify_tests_"))


@cache
def compiled(spec: str) -> Compilation:
    """A spec from its text."""
    file = folder() / f"{abs(hash(spec))}.yaml"
    file.write_text(spec, encoding="utf-8")
    return compile_spec(file)


def images(compilation: Compilation, count: int = 2) -> Tensor:
    """(N, C, H, W)"""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *compilation.program.input, generator=generator)


@cache
def weights(spec: str) -> LoadedWeights:
    """The weights of a seed as after some training: no shift is zero, no scale one."""
    compilation = compiled(spec)
    drawn = np.random.default_rng(1)
    seeded = held(compilation.graph, SeededWeights(0)).tensors
    moved = LoadedWeights(
        {
            key: (tensor + drawn.normal(0, 0.05, tensor.shape)).astype(np.float32)
            for key, tensor in seeded.items()
        }
    )
    calm = settled(compilation.inference_graph(fold=False), moved, images(compilation, 8))
    return held(compilation.graph, calm)


@cache
def reference(spec: str) -> Reference:
    """The network of a spec with its weights, on two images."""
    compilation = compiled(spec)
    return Reference(compilation, weights(spec), images(compilation))


def target(
    spec: str,
    numbers: Numbers | None = None,
    *,
    fold: bool = True,
    options: OnnxOptions | None = None,
    change: Callable[[onnx.ModelProto], None] | None = None,
    origin: LoadedWeights | None = None,
) -> OnnxTarget:
    """The ONNX target of a spec; `change` is done to the file, and `origin` are other weights for it."""
    compilation = compiled(spec)
    graph = compilation.inference_graph(fold=fold, numbers=numbers or Numbers())
    path = folder() / "target.onnx"
    with path.open("wb") as stream:
        write_model(graph, origin or weights(spec), stream, options or OnnxOptions())
    if change is not None:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
    return OnnxTarget(read(path), graph, graph_precision(numbers))


def graph_precision(numbers: Numbers | None) -> str:
    """What the precision of numbers is called."""
    return "fp32" if numbers is None else numbers.precision


def constant(name: str, edit: Callable[[np.ndarray], None]) -> Callable[[onnx.ModelProto], None]:
    """A change of the numbers of one constant."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(item for item in model.graph.initializer if item.name == name)
        numbers = numpy_helper.to_array(tensor).copy()
        edit(numbers)
        tensor.CopyFrom(numpy_helper.from_array(numbers, name))

    return change


def node(name: str, edit: Callable[[onnx.NodeProto], None]) -> Callable[[onnx.ModelProto], None]:
    """A change of one node."""

    def change(model: onnx.ModelProto) -> None:
        edit(next(item for item in model.graph.node if item.name == name))

    return change
