"""`eval`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, Overrides, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class Data(StrEnum):
    """What `eval` can read images from."""

    digits = "digits"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    folder = "folder"
    shards = "shards"
    fake = "fake"


class Split(StrEnum):
    """Which of the images."""

    test = "test"
    train = "train"


class Views(StrEnum):
    """The parts of an image that a network sees."""

    centre = "center"
    ten = "ten"
    scales = "scales"


@app.command("eval")
def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPEC | RUN | WEIGHTS | ONNX]...",
            help="Networks; several are an ensemble [what was trained last here].",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", metavar="FILE", help="Of a spec; several are an ensemble."),
    ] = None,
    override: Overrides = None,
    data: Annotated[
        Data | None, typer.Option("--data", help="What images [what it was trained for].")
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="PLACE", help="Their folder, or archive of a folder."),
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Which of them.")] = Split.test,
    views: Annotated[
        Views,
        typer.Option("--views", help="One crop, ten, or whole images at several scales."),
    ] = Views.centre,
    scales: Annotated[
        str | None,
        typer.Option("--scales", metavar="A,B", help="Shorter sides [224,256,384,480,640]."),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirrored views too [as in the training]."),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Side of a crop [the network's].")
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option("--resize", min=1, help="Shorter side before the crop [the training's]."),
    ] = None,
    crop_ratio: Annotated[
        float | None,
        typer.Option("--crop-ratio", help="The same as the crop's part of it, as in 0.875."),
    ] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="A,B,C", help="Of channels, from 0 to 1.")
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="A,B,C", help="Of channels, likewise.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=2, help="Classes of the second accuracy [5].")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many images, evenly spaced.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Images at a time [64; on a GPU 256].")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda [cuda where there is one].")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write tables and the confusion matrix here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how good networks are, alone and together: accuracies, classes, confusions."""

    def action() -> Outcome:
        from resnet_dsl.commands.evaluation import evaluate
        from resnet_dsl.evaluate.geometry import ViewOptions, scales_of
        from resnet_dsl.evaluate.normalise import option
        from resnet_dsl.evaluate.request import Request

        sides = scales_of(scales) if scales is not None else None
        request = Request(
            sources=tuple(sources or ()),
            weights=tuple(weights or ()),
            overrides=tuple(override or ()),
            data=data.value if data is not None else None,
            path=path,
            split=split.value,
            views=ViewOptions(views.value, sides, flip, size, resize, crop_ratio),
            mean=option("--mean", mean) if mean is not None else None,
            std=option("--std", std) if std is not None else None,
            batch=batch,
            device=device,
            limit=limit,
            top=top,
        )
        return evaluate(request, out)

    perform(action, as_json)
