"""`verify`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, Out, Overrides, Seed, Weights, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class Verified(StrEnum):
    """The precisions of ONNX graphs."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    fp8 = "fp8"


@app.command()
def verify(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPEC | ONNX | ENGINE]...",
            help="A network and files of it [what was built or trained last here].",
        ),
    ] = None,
    weights: Weights = None,
    seed: Seed = None,
    override: Overrides = None,
    onnx: Annotated[
        list[Path] | None,
        typer.Option("--onnx", metavar="FILE", help="An ONNX file of the network, anybody's."),
    ] = None,
    engine: Annotated[
        list[Path] | None,
        typer.Option("--engine", metavar="FILE", help="A TensorRT engine of the network."),
    ] = None,
    precision: Annotated[
        list[Verified] | None,
        typer.Option("--precision", help="Only these ONNX graphs [what is there; fp32, fp16]."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="PLACE",
            help="Images: a folder, an archive, an .npy, digits, fake [the network's].",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Compare the decisions on so many.")
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Prove what targets compute: every value beside what the arithmetic explains."""

    def action() -> Outcome:
        from resnet_dsl.commands.verification import VerifyRequest, verify

        request = VerifyRequest(
            sources=tuple(sources or ()),
            overrides=tuple(override or ()),
            weights=weights,
            seed=seed,
            onnx=tuple(onnx or ()),
            engines=tuple(engine or ()),
            precisions=tuple(item.value for item in precision or ()),
            place=data,
            images=images,
            out=out,
        )
        return verify(request, quiet=as_json)

    perform(action, as_json)
