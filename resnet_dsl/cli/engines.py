"""`compile`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import (
    AsJson,
    Number,
    Out,
    Overrides,
    Seed,
    SpecArgument,
    Weights,
    app,
    perform,
)

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class CompileTarget(StrEnum):
    """What `compile` can make."""

    tensorrt = "tensorrt"


@app.command("compile")
def compile_(
    spec: SpecArgument,
    target: Annotated[
        CompileTarget, typer.Option("--target", "-t", help="What to compile to.")
    ] = CompileTarget.tensorrt,
    out: Out = None,
    override: Overrides = None,
    seed: Seed = None,
    weights: Weights = None,
    precision: Annotated[
        Number, typer.Option("--precision", help="What the engine computes with.")
    ] = Number.fp16,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", help="Products or capabilities: rtx4090,sm120 [sm86,sm89,sm120]."),
    ] = None,
    batch: Annotated[
        str,
        typer.Option("--batch", metavar="MIN/OPT/MAX", help="Batch sizes; one number fixes it."),
    ] = "1/8/64",
    as_json: AsJson = False,
) -> None:
    """Compile a spec to a TensorRT engine; TensorRT for RTX needs no GPU for it."""
    assert target is CompileTarget.tensorrt  # the one target so far

    def action() -> Outcome:
        from resnet_dsl.commands.conflicts import check_compile
        from resnet_dsl.commands.engine import EngineRequest, compile_engine

        check_compile({"--seed": seed is not None, "--weights": weights is not None})
        request = EngineRequest(
            spec, out, tuple(override or ()), seed or 0, weights, precision.value, gpus, batch
        )
        return compile_engine(request, quiet=as_json)

    perform(action, as_json)
