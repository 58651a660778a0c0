"""`bench`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_dsl.cli.app import AsJson, Out, Overrides, Seed, Weights, app, perform

if TYPE_CHECKING:
    from resnet_dsl.commands.output import Outcome


class Computed(StrEnum):
    """What a backend can compute with."""

    fp32 = "fp32"
    tf32 = "tf32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    fp8 = "fp8"


@app.command()
def bench(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC",
            help="A YAML file, or the name of a bundled spec [what was last built or trained here].",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", metavar="A,B", help="Batch sizes [1,8,32; cuda 1,4,16,64,256]."),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", metavar="NAME", help="Only this one; may be given several times."
        ),
    ] = None,
    precision: Annotated[
        list[Computed] | None,
        typer.Option("--precision", help="Only this one; likewise [fp32, int8; cuda fp16]."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="cpu or cuda [cpu].")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Threads [the cores].")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Measuring time of a backend at a batch size.")
    ] = 2.0,
    weights: Weights = None,
    seed: Seed = None,
    override: Overrides = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency, throughput and memory in every backend that is there, in turn."""

    def action() -> Outcome:
        from resnet_dsl.commands.benchmark import BenchRequest, bench

        request = BenchRequest(
            spec=spec,
            overrides=tuple(override or ()),
            weights=weights,
            seed=seed,
            batch=batch,
            backends=tuple(backend or ()),
            precisions=tuple(item.value for item in precision or ()),
            device=device,
            threads=threads,
            seconds=seconds,
            out=out,
        )
        return bench(request, quiet=as_json)

    perform(action, as_json)
