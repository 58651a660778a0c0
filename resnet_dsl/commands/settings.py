"""What a network is trained by: the spec's `train` section over its recipe, and whether the two go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from resnet_dsl import __version__
from resnet_dsl.analysis.values import shapes
from resnet_dsl.artifacts import output_folder
from resnet_dsl.backends.trainer import check_unused
from resnet_dsl.backends.trainer.check import problems
from resnet_dsl.backends.trainer.problem import Problem
from resnet_dsl.backends.trainer.settings import Part, TrainSettings
from resnet_dsl.commands.output import no_option, shell_path
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph
from resnet_dsl.language.recipes import LENGTHS, Resolved, training
from resnet_dsl.lower import lower
from resnet_dsl.passes.inline import inline


def settings_of(
    compilation: Compilation,
    spec: str | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
) -> TrainSettings:
    """The training settings of a spec: its own values over its recipe's. Raises CompileError."""
    program = compilation.program
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in _resolved(compilation).values.items()
    }
    values.pop("drop_path", None)  # the network has it
    return TrainSettings(
        name=program.name,
        spec=no_option(spec or program.name),
        overrides=tuple(overrides),
        folder=_named(out, program.name),
        spec_hash=program.spec_hash,
        version=__version__,
        input=program.input,
        classes=program.classes,
        parts=_parts(compilation.graph, compilation.spec.trunk),
        **values,
    )


def checked_settings(
    compilation: Compilation,
    spec: str | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
) -> TrainSettings:
    """As `settings_of`, and the network can be trained by them. Raises CompileError with every finding."""
    settings = settings_of(compilation, spec, overrides, out)
    resolved = _resolved(compilation)
    graph, classes = compilation.graph, settings.classes
    output = shapes(graph)[graph.output]
    found: list[Diagnostic] = []
    if output != (classes,):
        found.append(
            compilation.source.diagnostic(
                "RD651",
                "the network cannot be trained: its output is no list of classes",
                ("head",),
                why=f"the output has the shape {'×'.join(map(str, output))}, and training compares one number "
                f"for each of the {classes} classes with a label",
                hint="write `head: classifier`",
            )
        )
    miscounted = {setting: units for setting, *units in resolved.miscounted()}
    for setting, (meant, unit) in miscounted.items():
        found.append(
            resolved.diagnostic(
                setting,
                "RD652",
                f"`{setting}` counts {meant} in the recipe, and the training's length is given in {unit}",
                hint=f"write `{setting}` anew, in {unit}",
            )
        )
    said = resolved.layers[0].settings
    unused = (problem for problem in check_unused.problems(settings) if problem.setting in said)
    for problem in (*problems(settings), *unused, *_train_size(compilation, settings.train_size)):
        if problem.setting not in miscounted:
            found.append(
                resolved.diagnostic(
                    problem.setting, problem.code, problem.message, problem.why, problem.hint
                )
            )
    if found:
        raise CompileError(found)
    return settings


def _train_size(compilation: Compilation, size: int | None) -> Iterator[Problem]:
    """Whether the network, with the same weights, takes images of that size too."""
    if size is None:
        return
    spec = compilation.spec
    other = spec.input.model_copy(update={"size": (size, size)})
    try:
        program = lower(spec.model_copy(update={"input": other}), compilation.source)
        same = _weights(inline(program)) == _weights(compilation.graph)
    except CompileError:
        same = False
    if not same:
        yield Problem(
            "train_size",
            f"the network cannot be trained on images of {size}×{size}",
            f"its weights depend on the size of the image, {spec.input.size[0]}×{spec.input.size[1]}",
            "write `train_size: null`, or a head that pools, such as `classifier`",
        )


def _weights(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {item.name: item.shape for node in graph.nodes for item in node.constants}


def _resolved(compilation: Compilation) -> Resolved:
    """Every setting by its name. Raises CompileError where the spec leaves one open."""
    found = training(compilation.spec, compilation.source)
    if found is None:
        raise CompileError(
            compilation.source.diagnostic(
                "RD102",
                "`train` is missing",
                (),
                why="the spec does not say how to train the network",
                hint="add a `train:` section: a recipe, settings of your own over it, or all of them; "
                "`resnet-dsl list` names the recipes",
            )
        )
    missing = [
        f"`{field.name}`"
        for field in fields(TrainSettings)
        if field.default is MISSING and field.name in _SAID_BY_SPEC - found.values.keys()
    ]
    if all(found.values.get(name) is None for name in LENGTHS):
        missing.append("`epochs` or `iterations`")
    if missing:
        raise CompileError(
            compilation.source.diagnostic(
                "RD102",
                f"`train` does not say {', '.join(missing)}",
                ("train",),
                key=True,
                hint="name a `recipe`, which has every value, and override some",
            )
        )
    return found


_SAID_BY_SPEC = {"data", "batch_size", "optimiser", "lr"}
"""What the base recipe leaves open, besides the length."""


def _parts(graph: Graph, trunk: str | None) -> tuple[Part, ...]:
    """Stem, stages and head with their modules that have parameters; a trunk's members are modules of their own."""
    found: dict[str, dict[str, None]] = {}
    for node in graph.nodes:
        names = node.name.split(".")
        module = ".".join(names[: 2 if names[0] == trunk else 1])
        modules = found.setdefault(node.group, {})
        if any(constant.trainable for constant in node.constants):
            modules[module] = None
    return tuple((group, tuple(modules)) for group, modules in found.items())


def _named(out: Path | None, name: str) -> str | None:
    """The folder as a command names it; None where it is the one that a command takes by itself."""
    if out is None or output_folder(out, name) == output_folder(None, name):
        return None
    return shell_path(out)
