"""Layer responses (He et al. 2015, section 4.2, figure 7): the standard deviation, over all test images, of each 3×3
layer's output after its normalisation and before what follows: the nonlinearity, or the addition of the shortcut.

Which modules these are is read off the compiled graph. Where the normalisation of a layer does not follow it directly,
as in pre-activation nets or in nets without any, it is the convolution's own output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.compiler import Compilation, compile_spec
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph, Node
from resnet_dsl.ir.ops import Activation, BatchNorm, Conv, FrozenBatchNorm, GroupNorm
from resnet_dsl.needs import require
from resnet_dsl.studies.folder import RunFolder, read_json
from resnet_dsl.studies.outcomes import Row

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 250
FILE = "responses.json"
WEIGHTS = "last.safetensors"


@dataclass(frozen=True, slots=True)
class Layer:
    """A 3×3 layer by the name of its convolution, and the standard deviation of its response."""

    name: str
    deviation: float


def layers(graph: Graph) -> dict[str, str]:
    """The 3×3 convolutions in the network's order, each with the module whose output is its response.

    A convolution that only opens a gate is no layer.
    """
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    found: dict[str, str] = {}
    for index, node in enumerate(graph.nodes):
        if not isinstance(node.op, Conv) or node.op.kernel != (3, 3):
            continue
        match readers.get(index + 1, []):
            case [Node(op=BatchNorm() | FrozenBatchNorm() | GroupNorm()) as norm]:
                found[node.name] = norm.name
            case [Node(op=Activation(kind="sigmoid"))]:
                pass
            case _:
                found[node.name] = node.name
    return found


def measured(rows: Iterable[Row], say: Callable[[str], None]) -> dict[str, tuple[Layer, ...]]:
    """The layers of every finished run by the run's id; measured once, and kept in the run's folder.

    Raises CompileError where the weights or the test images cannot be read.
    """
    found: dict[str, tuple[Layer, ...]] = {}
    for row in rows:
        for one in row.finished:
            digest = _digest(one.folder.output / WEIGHTS)
            kept = _kept(one.folder, digest)
            if kept is None:
                say(f"{one.run.label}: measuring the responses of its layers")
                kept = _measure(one.folder)
                _keep(one.folder, digest, kept)
            found[one.run.id] = kept
    return found


def deviations(
    network: nn.Module, modules: Sequence[str], batches: Iterable[Tensor]
) -> list[float]:
    """The standard deviation of each module's output over all numbers of all batches (B, C, H, W).

    The network is left as it is, but in evaluation mode.
    """
    import torch

    device = next(network.parameters()).device
    sums = torch.zeros(len(modules), 3, dtype=torch.float64, device=device)

    def watch(index: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            values = output.double()  # before what follows changes it in place
            count = torch.tensor(float(output.numel()), dtype=torch.float64, device=device)
            sums[index] += torch.stack([count, values.sum(), values.square().sum()])

        return hook

    hooks = [
        network.get_submodule(name).register_forward_hook(watch(index))
        for index, name in enumerate(modules)
    ]
    try:
        network.eval()
        with torch.inference_mode():
            for images in batches:
                network(images.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    counts, totals, squares = sums.unbind(1)
    variances = squares / counts - (totals / counts).square()
    return [float(one) for one in variances.clamp(min=0).sqrt().cpu()]


def _measure(folder: RunFolder) -> tuple[Layer, ...]:
    """The layers of a run's last weights, on the test images that its training knows."""
    require("torch", "torchvision")
    from resnet_dsl.evaluate.networks import load_network

    compilation = compile_spec(folder.spec)
    wanted = layers(compilation.graph)
    network, _ = load_network(compilation, folder.output / WEIGHTS)
    images = _test_images(folder, compilation)
    found = deviations(network, [*wanted.values()], images)
    return tuple(Layer(name, one) for name, one in zip(wanted, found, strict=True))


def _test_images(folder: RunFolder, compilation: Compilation) -> Iterator[Tensor]:
    """The test images in batches (B, C, H, W), standardised as in the training. Raises CompileError."""
    import torch

    from resnet_dsl.evaluate.geometry import ViewOptions, geometry
    from resnet_dsl.evaluate.images import open_source
    from resnet_dsl.evaluate.normalise import standard_of
    from resnet_dsl.evaluate.request import Request, data_choice
    from resnet_dsl.evaluate.runs import run_at
    from resnet_dsl.evaluate.statistics import measured as measured_standard
    from resnet_dsl.evaluate.statistics import tensors_of
    from resnet_dsl.evaluate.subjects import Subject
    from resnet_dsl.evaluate.views import batches
    from resnet_dsl.runtime.augment import as_operand, standardised

    program, settings = compilation.program, folder.run.case.settings
    shape = channels, *size = program.input
    weights, run = folder.output / WEIGHTS, run_at(folder.output)
    subject = Subject(program.name, weights, compilation, run, settings)
    choice = data_choice(Request(), [subject])
    source = open_source(choice, shape, program.classes)
    views = geometry(ViewOptions(), (size[0], size[1]), settings.get("resize"), program.name)
    standard = standard_of(subject, channels, (size[0], size[1]), None)
    if standard.measured is None:
        mean, std = tensors_of(standard, shape)
    else:
        mean, std = measured_standard(standard, choice, shape, program.classes, settings)
    for seen, _ in batches(source, [views], torch.arange(len(source)), BATCH):
        for group in seen[0][0]:
            images = group[1]
            yield standardised(images, as_operand(mean, images), as_operand(std, images))


def _kept(folder: RunFolder, digest: str) -> tuple[Layer, ...] | None:
    """What was measured of these weights before; None where nothing was."""
    found = read_json(folder.path / FILE)
    if found is None or found.get("weights_sha256") != digest:
        return None
    with suppress(KeyError, TypeError, ValueError):
        return tuple(Layer(str(one["layer"]), float(one["std"])) for one in found["layers"])
    return None


def _keep(folder: RunFolder, digest: str, found: Sequence[Layer]) -> None:
    """Write down what was measured. A folder that can only be read is measured again the next time."""
    told = [{"layer": layer.name, "std": layer.deviation} for layer in found]
    text = json.dumps({"weights_sha256": digest, "layers": told}, indent=2)
    with suppress(CompileError):
        Artifacts(folder.path).text(FILE, f"{text}\n")


def _digest(file: Path) -> str:
    """The SHA-256 of a file. Raises CompileError where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise CompileError(
            Diagnostic(
                "RD662",
                f"the weights of a finished run cannot be read: `{file}`",
                why=(error.strerror or str(error)).lower(),
                hint="delete the folder of the run, and train it again",
            )
        ) from error
