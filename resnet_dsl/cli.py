"""The command line: one thin function a command. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome

app = typer.Typer(
    name="resnet-dsl",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Target(StrEnum):
    """What `build` can make."""

    torch = "torch"
    onnx = "onnx"
    train = "train"


class CompileTarget(StrEnum):
    """What `compile` can make."""

    tensorrt = "tensorrt"


class Number(StrEnum):
    """The numbers that a graph computes with."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


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


class Stop(StrEnum):
    """Where `build` can stop and print the text form of what it has."""

    spec = "spec"
    program = "program"
    graph = "graph"
    folded = "folded"


SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A YAML file, or the name of a bundled spec.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value, as in --set stages.0.depth=5."
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder to write to [generated/NAME].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of the weights [0].", show_default=False)
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Weights: safetensors or a torch checkpoint."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from resnet_dsl import __version__

        print(f"resnet-dsl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Compile declarative specs of residual networks to PyTorch, ONNX and TensorRT."""


def _run(action: Callable[[], Outcome], as_json: bool) -> None:
    from resnet_dsl.commands.output import guarded

    if status := guarded(action, as_data=as_json):
        raise typer.Exit(status)


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
        Number | None,
        typer.Option("--precision", help="onnx: what the graph computes with [fp32]."),
    ] = None,
    stop_after: Annotated[
        Stop | None,
        typer.Option("--stop-after", help="Print the text form of this stage and write nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a spec to torch source, an ONNX graph, or a training script."""

    def action() -> Outcome:
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
        }
        check_build(targets, stop_after, given)
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
            precision=precision.value if precision is not None else "fp32",
        )
        return build(spec, options)

    _run(action, as_json)


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

    _run(action, as_json)


@app.command()
def describe(spec: SpecArgument, override: Overrides = None, as_json: AsJson = False) -> None:
    """A table of a spec: shapes, parameters, multiply-adds, memory, receptive fields."""

    def action() -> Outcome:
        from resnet_dsl.commands.checking import describe

        return describe(spec, override or (), as_data=as_json)

    _run(action, as_json)


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """The bundled specs, and the library's blocks, shortcuts, stems, heads and recipes."""

    def action() -> Outcome:
        from resnet_dsl.commands.checking import listing

        return listing()

    _run(action, as_json)


@app.command()
def train(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]",
            help="A YAML file, or the name of a bundled spec [digits].",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    override: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was interrupted.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Fine-tune: begin with these weights."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="PLACE", help="Where the images lie on this machine [train.path]."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="cpu, cuda, or cuda:1 [cuda where there is one]."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, help="So many together, each on a GPU of its own [1]."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="RUN",
            help="Repeat a run from its manifest.json, and compare the weights.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Emit the training script of a spec and run it."""

    def action() -> Outcome:
        from resnet_dsl.commands.train_options import TrainRequest
        from resnet_dsl.commands.training import train

        request = TrainRequest(
            spec=spec,
            out=out,
            overrides=tuple(override or ()),
            resume=resume,
            weights=weights,
            data=data,
            device=device,
            processes=processes,
            quiet=as_json,
        )
        if replay is None:
            return train(request)
        from resnet_dsl.commands.replay import repeat

        return repeat(replay, request)

    _run(action, as_json)


@app.command()
def study(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study of the library, or a YAML file; without, they are listed.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of runs and tables [generated/studies]."),
    ] = None,
    override: Overrides = None,
    axis: Annotated[
        list[str] | None,
        typer.Option("--axis", metavar="AXIS=A,B", help="Only these values: --axis depth=8,14."),
    ] = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seeds", metavar="A,B", help="These seeds instead of the study's."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the runs and their costs, and do nothing.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Only the table and figure of what is finished.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Also train what has failed.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Trainings at a time [1].")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda [cuda where there is one].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the runs of a study and compare them; what is finished is not trained again."""

    def action() -> Outcome:
        from resnet_dsl.commands.study import StudyOptions, studies, study

        options = StudyOptions(
            out=out,
            overrides=tuple(override or ()),
            axes=tuple(axis or ()),
            seeds=tuple(seeds or ()),
            plan=plan,
            table=table,
            retry=retry,
            jobs=jobs,
            device=device,
        )
        return studies(options) if name is None else study(name, options)

    _run(action, as_json)


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

    _run(action, as_json)


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

    _run(action, as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")] = Path(
        "generated"
    ),
    as_json: AsJson = False,
) -> None:
    """The main job end to end: build, train on digits, ONNX, engine, and a summary."""

    def action() -> Outcome:
        from resnet_dsl.commands.demo import demo

        return demo(out, quiet=as_json)

    _run(action, as_json)


def main() -> None:
    """The entry point of the `resnet-dsl` command."""
    gc.disable()  # a command ends before garbage matters; collecting takes a quarter of its time
    # Pydantic would read the metadata of every installed package to find plugins: a quarter of the time of `build`.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from resnet_dsl.commands.process import run

    sys.exit(run(app))
