"""`resnet-dsl build`: a spec to its targets."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts, output_folder
from resnet_dsl.calibrate.wish import Wish
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.latest import remember
from resnet_dsl.commands.output import Outcome, no_option, shell_path, size
from resnet_dsl.commands.room import check_room
from resnet_dsl.commands.run import RESOLVED, standardised
from resnet_dsl.compiler import FP32, Compilation, compile_spec, resolved, torch_source
from resnet_dsl.ir.ops import Activation, BatchNorm, Conv, FrozenBatchNorm, GroupNorm
from resnet_dsl.needs import require
from resnet_dsl.passes.manager import run
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.render import safe

if TYPE_CHECKING:
    from resnet_dsl.backends.onnx.options import OnnxOptions
    from resnet_dsl.backends.onnx.writer import OnnxReport
    from resnet_dsl.calibrate.decided import Decided
    from resnet_dsl.ir.graph import Graph
    from resnet_dsl.weights.store import Weights

STRIDES_IN_POINTWISE = (
    "this network has strides in 1×1 convolutions (the paper's v1), and those of torchvision "
    'and timm have them in 3×3 ones ("v1.5"), under the same names and shapes: '
    "make sure that the file is of the former"
)
"""A warning about weights of other projects, for networks of which `strides_in_pointwise` is true."""


PLAIN = Wish()


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build, and how. `seed` draws the weights where no file of weights is given."""

    targets: tuple[str, ...]
    out: Path | None = None
    overrides: tuple[str, ...] = ()
    seed: int = 0
    weights: Path | None = None
    write_weights: bool = False
    fold: bool = True
    opset: int | None = None
    dynamic_size: bool = False
    external_data: bool = False
    outputs: tuple[str, ...] = ()
    wish: Wish = PLAIN


def build(spec: str, options: BuildOptions) -> Outcome:
    """Build every target of a spec; their files appear together. Raises CompileError."""
    compilation = compile_spec(find_spec(spec), options.overrides)
    name = compilation.spec.name
    folder = output_folder(options.out, name)
    outcome = Outcome()
    with Artifacts(folder) as artifacts:
        if options.write_weights or "onnx" in options.targets or options.weights is not None:
            weights, notes = weights_of(compilation, options.weights, options.seed)
            outcome.notes += [("weights", note) for note in notes]
        if "torch" in options.targets or "train" in options.targets:
            artifacts.text(f"{name}.py", torch_source(compilation))
        if "train" in options.targets:
            _train(artifacts, compilation, spec, options)
        if options.write_weights or (options.weights is not None and "onnx" not in options.targets):
            _weights(artifacts, compilation, weights, options)
        if "onnx" in options.targets:
            check_onnx(compilation, options)
            decided = decided_for(compilation, weights, options, folder)
            outcome.lines += decided.lines()
            outcome.notes += [("numbers", note) for note in decided.notes]
            report = write_onnx(
                artifacts, compilation, weights, options, decided.numbers, options.wish.suffix
            )
            outcome.lines.append(
                f"onnx      {report.nodes} nodes, opset {report.opset}, "
                f"{size(report.weight_bytes)} of weights"
            )
            outcome.data["onnx"] = {
                "nodes": report.nodes,
                "opset": report.opset,
                "weight_bytes": report.weight_bytes,
                "weights_sha256": report.weights_digest,
                "numbers": decided.as_dict(),
            }
    outcome.written += artifacts.records
    outcome.data |= {"name": name, "spec_sha256": compilation.program.spec_hash}
    outcome.next += _next(spec, folder, options)
    remember(
        "built",
        spec=spec,
        spec_sha256=compilation.program.spec_hash,
        out=folder,
        overrides=options.overrides,
        weights=options.weights,
        seed=options.seed,
    )
    return outcome


def decided_for(
    compilation: Compilation, weights: Weights, options: BuildOptions, folder: Path
) -> Decided:
    """What the network is to compute with, as `calibrate.decide` finds it, with progress on a terminal."""
    from resnet_dsl.calibrate.decide import decide
    from resnet_dsl.commands.progress import bar

    if options.wish.quantised:
        require("onnxruntime")
    return decide(
        compilation,
        weights,
        options.wish,
        folder,
        file=options.weights,
        fold=options.fold,
        fixed_size=not options.dynamic_size,
        bar=bar,
    )


def weights_of(
    compilation: Compilation, path: Path | None, seed: int
) -> tuple[Weights, Sequence[str]]:
    """The numbers of a network: a file's, or a seed's; and what to say of them."""
    from resnet_dsl.weights.state import from_file
    from resnet_dsl.weights.store import SeededWeights

    if path is None:
        return SeededWeights(seed), [f"drawn from seed {seed}: the network is untrained"]
    weights, saved_with, notes = from_file(path, compilation.graph)
    notes += standardised(path, compilation.program.spec_hash)
    if saved_with is None and strides_in_pointwise(compilation.graph):
        notes.append(STRIDES_IN_POINTWISE)
    if saved_with not in (None, compilation.program.spec_hash):
        notes.append(
            "the file was saved with another spec: names and shapes fit, but nothing tells whether "
            "both compute the same"
        )
    return weights, notes


def strides_in_pointwise(graph: Graph) -> bool:
    """Whether a strided 1×1 convolution leads, by way of norms and activations, into a larger one:
    what "v1" means."""
    strided: set[int] = set()
    for value, node in enumerate(graph.nodes, 1):
        reads = any(operand in strided for operand in node.inputs)
        match node.op:
            case Conv(kernel=(1, 1), stride=stride) if stride != (1, 1):
                strided.add(value)
            case Conv(kernel=kernel) if kernel != (1, 1) and reads:
                return True
            case BatchNorm() | FrozenBatchNorm() | GroupNorm() | Activation() if reads:
                strided.add(value)
            case _:
                pass
    return False


def write_onnx(
    artifacts: Artifacts,
    compilation: Compilation,
    weights: Weights,
    options: BuildOptions,
    numbers: Numbers = FP32,
    suffix: str = "",
) -> OnnxReport:
    """Write `<name><suffix>.onnx`, and its data file where one is asked for or needed."""
    from resnet_dsl.backends.onnx.options import byte_size, constants_of, needs_external_data
    from resnet_dsl.backends.onnx.writer import write_model

    graph = compilation.inference_graph(
        fold=options.fold, numbers=numbers, fixed_size=not options.dynamic_size
    )
    choices = onnx_options(options)
    model = f"{compilation.spec.name}{suffix}.onnx"
    constants = constants_of(graph)
    check_room(artifacts.folder, model, ((item.name, byte_size(item)) for item in constants))
    with ExitStack() as stack:
        stream = stack.enter_context(artifacts.binary(model))
        if not needs_external_data(graph, choices):
            return write_model(graph, weights, stream, choices)
        data = stack.enter_context(artifacts.binary(f"{model}.data"))
        return write_model(graph, weights, stream, choices, data=data, location=f"{model}.data")


def onnx_options(options: BuildOptions) -> OnnxOptions:
    """How the ONNX file is to be written."""
    from resnet_dsl.backends.onnx.options import OnnxOptions

    return OnnxOptions(options.opset, options.dynamic_size, options.outputs, options.external_data)


def check_onnx(compilation: Compilation, options: BuildOptions) -> None:
    """Raise now what could not be written after minutes of calibration. Raises CompileError as `emit` does."""
    from resnet_dsl.backends.onnx.emit import emit

    wish = options.wish
    if not (wish.quantised or wish.half):
        return
    graph = compilation.inference_graph(fold=options.fold, fixed_size=not options.dynamic_size)
    precision = "int8" if wish.precision == "auto" else wish.precision
    numbers = Numbers(precision, wish.others, wish.runtime)
    plan = numbers.plan(graph)
    if plan is not None:
        numbers = replace(numbers, ranges=dict.fromkeys(plan.ranges, 1.0))
    emit(run(graph, numbers.passes()), onnx_options(options))


def _weights(
    artifacts: Artifacts, compilation: Compilation, weights: Weights, options: BuildOptions
) -> None:
    from resnet_dsl.weights.save import save_safetensors
    from resnet_dsl.weights.state import entries

    origin = f"seed {options.seed}" if options.weights is None else safe(options.weights.name)
    metadata = {"format": "pt", "spec_sha256": compilation.program.spec_hash, "from": origin}
    file, tensors = f"{compilation.spec.name}.safetensors", entries(compilation.graph, weights)
    check_room(artifacts.folder, file, ((item.name, 4 * prod(item.shape)) for item in tensors))
    with artifacts.binary(file) as stream:
        save_safetensors(stream, tensors, metadata)


def _train(
    artifacts: Artifacts, compilation: Compilation, spec: str, options: BuildOptions
) -> None:
    from resnet_dsl.backends.trainer.emit import emit
    from resnet_dsl.commands.settings import checked_settings

    settings = checked_settings(compilation, spec, options.overrides, options.out)
    artifacts.text("train.py", emit(settings))
    artifacts.text(RESOLVED, resolved(compilation))


def _next(spec: str, folder: Path, options: BuildOptions) -> list[str]:
    if "train" in options.targets:
        return [shlex.join(["python", shell_path(folder / "train.py")])]
    if "onnx" in options.targets:
        return [again("compile", spec, "tensorrt", options)]
    return [again("build", spec, "onnx", options)]


def again(command: str, spec: str, target: str, options: BuildOptions) -> str:
    """The command that takes the same network, with the same numbers, to another target."""
    words = ["resnet-dsl", command, no_option(spec)]
    words += ["--target", target]
    words += _numbers(options.wish)
    for override in options.overrides:
        words += ["--set", override]
    if options.weights is not None:
        words += ["--weights", shell_path(options.weights)]
    elif options.seed:
        words += ["--seed", str(options.seed)]
    if options.out is not None:
        words += ["--out", shell_path(options.out)]
    return shlex.join(words)


def _numbers(wish: Wish) -> list[str]:
    """The options by which a command asks for the same numbers; but for the runtime, which the target decides."""
    given = {
        "--precision": wish.precision if wish.precision != "fp32" else None,
        "--rest": wish.rest,
        "--calibration": wish.place,
        "--calibration-images": wish.images,
        "--calibration-method": wish.method,
        "--percentile": wish.percent,
        "--accuracy-budget": wish.budget,
        "--accuracy-images": wish.accuracy_images,
    }
    pairs = [(name, f"{value}") for name, value in given.items() if value is not None]
    return [word for pair in [*pairs, *(("--keep", part) for part in wish.keep)] for word in pair]
