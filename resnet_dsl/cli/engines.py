"""`compile`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, Out, Overrides, Seed, Weights, app, perform
from resnet_dsl.cli.numbers import (
    AccuracyImages,
    Budget,
    Calibration,
    CalibrationImages,
    CalibrationMethod,
    EngineNumber,
    Keep,
    Percentile,
    RestOption,
)

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class CompileTarget(StrEnum):
    """What `compile` can make."""

    tensorrt = "tensorrt"


class Product(StrEnum):
    """The two products that build engines."""

    rtx = "tensorrt-rtx"
    tensorrt = "tensorrt"


class Hardware(StrEnum):
    """Which other GPUs an engine runs on."""

    ampere_plus = "ampere-plus"
    same_capability = "same-compute-capability"


@app.command("compile")
def compile_(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]",
            help="A YAML file, or the name of a bundled spec [what was last built or trained here].",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        CompileTarget, typer.Option("--target", "-t", help="What to compile to.")
    ] = CompileTarget.tensorrt,
    out: Out = None,
    override: Overrides = None,
    seed: Seed = None,
    weights: Weights = None,
    precision: Annotated[
        EngineNumber, typer.Option("--precision", help="What the engine computes with.")
    ] = EngineNumber.fp16,
    rest: RestOption = None,
    keep: Keep = None,
    calibration: Calibration = None,
    calibration_images: CalibrationImages = None,
    calibration_method: CalibrationMethod = None,
    percentile: Percentile = None,
    accuracy_budget: Budget = None,
    accuracy_images: AccuracyImages = None,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", help="Products or capabilities: rtx4090,sm120 [sm86,sm89,sm120]."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch", metavar="MIN/OPT/MAX", help="Batch sizes [1/8/64]; one number fixes it."
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="RANGES",
            help="As batch=1/8/64,size=192/224/256; may be given several times.",
        ),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(
            "--input-size", metavar="SIZE", help="Of images: 256, or 192x256 [the spec's]."
        ),
    ] = None,
    product: Annotated[
        Product | None,
        typer.Option("--product", help="The builder [tensorrt-rtx where it is installed]."),
    ] = None,
    hardware: Annotated[
        Hardware | None,
        typer.Option("--hardware-compatible", help="tensorrt: the engine runs on other GPUs too."),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="tensorrt: it runs in later releases too."),
    ] = False,
    exclude_lean_runtime: Annotated[
        bool,
        typer.Option(
            "--exclude-lean-runtime",
            help="With --version-compatible: the engine does not carry the runtime for it.",
        ),
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option("--timing-cache", metavar="FILE", help="tensorrt: keep kernels' times here."),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="tensorrt: weights can be replaced later.")
    ] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="tensorrt: leave the weights out of the engine.")
    ] = False,
    workspace: Annotated[
        int | None,
        typer.Option("--workspace", metavar="MIB", help="Scratch memory of a kernel [all]."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="When to give the build up [3600]."),
    ] = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Print every kernel, and what is fused into it.")
    ] = False,
    triton: Annotated[
        bool, typer.Option("--triton", help="Write a Triton model repository too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compile a spec to a TensorRT engine; TensorRT for RTX needs no GPU for it."""
    assert target is CompileTarget.tensorrt  # the one target so far

    def action() -> Outcome:
        from resnet_dsl.backends.tensorrt.options import EngineOptions
        from resnet_dsl.calibrate.wish import Wish
        from resnet_dsl.commands.conflicts import check_compile
        from resnet_dsl.commands.engine import EngineRequest, compile_engine

        check_compile({"--seed": seed is not None, "--weights": weights is not None})
        wish = Wish(
            precision=precision.value,
            placement="tensorrt",
            rest=rest.value if rest is not None else None,
            keep=tuple(keep or ()),
            place=calibration,
            images=calibration_images,
            method=calibration_method.value if calibration_method is not None else None,
            percent=percentile,
            budget=accuracy_budget,
            accuracy_images=accuracy_images,
            engine=True,
        )
        options = EngineOptions(
            product=product.value if product is not None else None,
            workspace_mib=workspace,
            timeout_s=3600.0 if timeout is None else timeout,
            hardware=hardware.value.replace("-", "_") if hardware is not None else None,
            version_compatible=version_compatible,
            exclude_lean_runtime=exclude_lean_runtime,
            timing_cache=timing_cache,
            refit=refit,
            strip=strip,
        )
        request = EngineRequest(
            spec=spec,
            out=out,
            overrides=tuple(override or ()),
            seed=seed,
            weights=weights,
            wish=wish,
            gpus=gpus,
            batch=batch,
            profiles=tuple(profile or ()),
            input_size=input_size,
            options=options,
            kernels=kernels,
            triton=triton,
        )
        return compile_engine(request, quiet=as_json)

    perform(action, as_json)
