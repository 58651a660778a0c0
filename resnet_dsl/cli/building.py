"""`build`, and what tells of specs without writing anything."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import (
    AsJson,
    Out,
    Overrides,
    Seed,
    SpecArgument,
    Weights,
    app,
    perform,
)
from resnet_dsl.cli.numbers import (
    AccuracyImages,
    Budget,
    Calibration,
    CalibrationImages,
    CalibrationMethod,
    GraphNumber,
    Keep,
    Percentile,
    Placement,
    RestOption,
)

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class Target(StrEnum):
    """What `build` can make."""

    torch = "torch"
    onnx = "onnx"
    train = "train"


class Stop(StrEnum):
    """Where `build` can stop and print the text form of what it has."""

    spec = "spec"
    program = "program"
    graph = "graph"
    folded = "folded"


@app.command()
def build(
    spec: SpecArgument,
    target: Annotated[
        list[Target] | None,
        typer.Option("--target", "-t", help="What to make; may be given several times [torch]."),
    ] = None,
    out: Out = None,
    override: Overrides = None,
    seed: Seed = None,
    weights: Weights = None,
    write_weights: Annotated[
        bool, typer.Option("--write-weights", help="Write the weights beside, as safetensors.")
    ] = False,
    fold: Annotated[
        bool | None,
        typer.Option("--fold/--no-fold", help="onnx: fold batch normalisation [--fold]."),
    ] = None,
    opset: Annotated[
        int | None, typer.Option("--opset", metavar="N", help="onnx: the opset [18].")
    ] = None,
    dynamic_size: Annotated[
        bool, typer.Option("--dynamic-size", help="onnx: symbolic height and width too.")
    ] = False,
    external_data: Annotated[
        bool, typer.Option("--external-data", help="onnx: weights in a file of their own.")
    ] = False,
    output: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="STAGE", help="onnx: a stage's end as an output too."),
    ] = None,
    precision: Annotated[
        GraphNumber | None,
        typer.Option("--precision", help="onnx: what the graph computes with [fp32]."),
    ] = None,
    placement: Annotated[
        Placement | None,
        typer.Option(
            "--for", help="int8, auto: the runtime that codes are placed for [onnxruntime]."
        ),
    ] = None,
    rest: RestOption = None,
    keep: Keep = None,
    calibration: Calibration = None,
    calibration_images: CalibrationImages = None,
    calibration_method: CalibrationMethod = None,
    percentile: Percentile = None,
    accuracy_budget: Budget = None,
    accuracy_images: AccuracyImages = None,
    stop_after: Annotated[
        Stop | None,
        typer.Option("--stop-after", help="Print the text form of this stage and write nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a spec to torch source, an ONNX graph, or a training script."""

    def action() -> Outcome:
        from resnet_dsl.calibrate.wish import Wish, check_wish
        from resnet_dsl.commands.build import BuildOptions, build
        from resnet_dsl.commands.conflicts import check_build
        from resnet_dsl.commands.output import Outcome

        targets = tuple(dict.fromkeys(item.value for item in target or [Target.torch]))
        given = {
            "--target": target is not None,
            "--out": out is not None,
            "--seed": seed is not None,
            "--weights": weights is not None,
            "--write-weights": write_weights,
            "--fold": fold is True,
            "--no-fold": fold is False,
            "--opset": opset is not None,
            "--dynamic-size": dynamic_size,
            "--external-data": external_data,
            "--output": output is not None,
            "--precision": precision is not None,
            "--for": placement is not None,
            "--rest": rest is not None,
            "--keep": keep is not None,
            "--calibration": calibration is not None,
            "--calibration-images": calibration_images is not None,
            "--calibration-method": calibration_method is not None,
            "--percentile": percentile is not None,
            "--accuracy-budget": accuracy_budget is not None,
            "--accuracy-images": accuracy_images is not None,
        }
        check_build(targets, stop_after, given)
        wish = Wish(
            precision.value if precision is not None else "fp32",
            placement.value if placement is not None else None,
            rest.value if rest is not None else None,
            tuple(keep or ()),
            calibration,
            calibration_images,
            calibration_method.value if calibration_method is not None else None,
            percentile,
            accuracy_budget,
            accuracy_images,
        )
        check_wish(wish)
        if stop_after is not None:
            from resnet_dsl.catalogue import find_spec
            from resnet_dsl.compiler import stop_after as text_of

            text = text_of(stop_after.value, find_spec(spec), override or ())
            return Outcome([text.rstrip("\n")], {stop_after.value: text})
        options = BuildOptions(
            targets=targets,
            out=out,
            overrides=tuple(override or ()),
            seed=seed or 0,
            weights=weights,
            write_weights=write_weights,
            fold=fold is not False,
            opset=opset,
            dynamic_size=dynamic_size,
            external_data=external_data,
            outputs=tuple(output or ()),
            wish=wish,
        )
        return build(spec, options)

    perform(action, as_json)


@app.command()
def check(
    specs: Annotated[
        list[str],
        typer.Argument(metavar="SPEC...", help="YAML files, or names of bundled specs."),
    ],
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check specs, and say what they describe; nothing is written."""

    def action() -> Outcome:
        from resnet_dsl.commands.checking import check

        return check(specs, override or ())

    perform(action, as_json)


@app.command()
def describe(spec: SpecArgument, override: Overrides = None, as_json: AsJson = False) -> None:
    """A table of a spec: shapes, parameters, multiply-adds, memory, receptive fields."""

    def action() -> Outcome:
        from resnet_dsl.commands.checking import describe

        return describe(spec, override or (), as_data=as_json)

    perform(action, as_json)


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """The bundled specs, and the library's blocks, shortcuts, stems, heads and recipes."""

    def action() -> Outcome:
        from resnet_dsl.commands.checking import listing

        return listing()

    perform(action, as_json)
