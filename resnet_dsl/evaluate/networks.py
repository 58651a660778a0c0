"""What turns images into scores: a spec with a file of weights as a torch module, or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from resnet_dsl.analysis.values import shapes
from resnet_dsl.compiler import Compilation, torch_source
from resnet_dsl.evaluate.dense import dense
from resnet_dsl.evaluate.geometry import Size
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.subjects import Subject
from resnet_dsl.runtime.evaluation import Score
from resnet_dsl.weights.state import entries, from_file


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network: standardised images to scores. `any_size` gives the same for images of other sizes than its own."""

    score: Score
    any_size: Callable[[], Score]
    channels: int
    size: Size | None
    classes: int | None
    spec_hash: str | None
    notes: tuple[str, ...]


def load(subject: Subject, device: torch.device) -> Loaded:
    """What a subject names, on a device, in evaluation mode. Raises CompileError: RD5xx for weights, RD675 for what is
    no classifier of images."""
    if subject.compilation is None:
        return _load_graph(subject, device)
    compilation = subject.compilation
    output = shapes(compilation.graph)[compilation.graph.output]
    if output != (compilation.program.classes,):
        raise refusal(
            "RD675",
            f"`{subject.name}` is no classifier of images",
            why=f"its output has the shape {'×'.join(map(str, output))}, and a classifier's is one number for each "
            f"of the {compilation.program.classes} classes",
            hint="write `head: classifier`",
        )
    network, notes = load_network(compilation, subject.file)
    network.to(device)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    channels, height, width = compilation.program.input
    return Loaded(
        network,
        lambda: dense(compilation, network),
        channels,
        (height, width),
        compilation.program.classes,
        compilation.program.spec_hash,
        tuple(notes),
    )


def _load_graph(subject: Subject, device: torch.device) -> Loaded:
    from resnet_dsl.evaluate.graphs import open_graph

    graph = open_graph(subject.file, device)

    def any_size() -> Score:
        if graph.height is None and graph.width is None:
            return graph
        raise refusal(
            "RD674",
            f"`{subject.file}` takes images of one size",
            why=f"its input is fixed at {graph.height}×{graph.width} pixels",
            hint="build it with --dynamic-size, or evaluate the spec with its --weights",
        )

    on_host = device.type == "cuda" and not graph.on_gpu
    notes = (
        ("ONNX Runtime runs it on the CPU: the one installed is without CUDA",) if on_host else ()
    )
    return Loaded(
        graph, any_size, graph.channels, graph.size, graph.classes, graph.spec_hash, notes
    )


def load_network(compilation: Compilation, weights: Path) -> tuple[nn.Module, list[str]]:
    """The emitted network with the weights of a file, in evaluation mode, and what to tell of how they fit.

    Raises CompileError (RD5xx) where the file is no file of weights, or of another network.
    """
    found, _, notes = from_file(weights, compilation.graph)
    name = compilation.spec.name
    module = ModuleType(name)
    exec(compile(torch_source(compilation), f"{name}.py", "exec"), module.__dict__)
    with torch.device("meta"):  # nothing is drawn that the file then replaces
        network: nn.Module = getattr(module, name)()
    state = {entry.name: torch.tensor(entry.load()) for entry in entries(compilation.graph, found)}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False), notes
