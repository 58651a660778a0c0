"""Options of what a target computes with, which `build` and `compile` share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class GraphNumber(StrEnum):
    """What an ONNX graph can compute with."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    fp8 = "fp8"
    auto = "auto"


class EngineNumber(StrEnum):
    """What an engine can compute with."""

    fp32 = "fp32"
    tf32 = "tf32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"
    fp8 = "fp8"
    auto = "auto"


class Rest(StrEnum):
    """What quantised networks compute with besides codes."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Method(StrEnum):
    """How the range of a value is chosen from what calibration has seen."""

    max = "max"
    percentile = "percentile"
    entropy = "entropy"
    mse = "mse"


class Placement(StrEnum):
    """The runtime that a quantised graph is for."""

    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"


RestOption = Annotated[
    Rest | None,
    typer.Option(
        "--rest",
        help="int8, fp8, auto: what is not quantised computes with [onnx: fp32; engine: fp16].",
        show_default=False,
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="PART",
        help="Stay in fp32, or for int8 and fp8 unquantised: a stage, block or layer, as layer1.0.",
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="PLACE",
        help="Images: a folder, an archive, an .npy, digits, fake [the training's].",
    ),
]
CalibrationImages = Annotated[
    int | None,
    typer.Option("--calibration-images", min=1, help="So many of them [512; fp16: 128]."),
]
CalibrationMethod = Annotated[
    Method | None,
    typer.Option(
        "--calibration-method", help="How ranges are chosen [entropy].", show_default=False
    ),
]
Percentile = Annotated[
    float | None,
    typer.Option("--percentile", help="Of --calibration-method percentile [99.99]."),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--accuracy-budget", min=0, help="auto: points of accuracy that may be lost [0.5]."
    ),
]
AccuracyImages = Annotated[
    int | None,
    typer.Option(
        "--accuracy-images", min=1, help="auto: measure on so many labelled images [2000]."
    ),
]
