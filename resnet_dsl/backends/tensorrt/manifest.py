"""What stands beside an engine: everything that went into it, so that it can be checked and built again.

`NAME.engine.json` belongs to `NAME.engine`. The models below are the one definition of it: `manifest` writes what they
hold, `read_manifest` reads back just that, and whatever else a file holds is refused with the place in it.

The same inputs give the same manifest, but for the engine's own SHA-256 and size where the builder is not
reproducible (fp32 and int8 engines differ from run to run). Times and memory belong to the report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from resnet_dsl import __version__
from resnet_dsl.backends.tensorrt.gpus import ARCHITECTURES
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.options import LARGEST, Profile, Range
from resnet_dsl.backends.tensorrt.products import PRECISIONS, PRODUCTS
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.errors import CompileError, Diagnostic

FORMAT: Final = 2
"""What is written today; format 1 lacks what has a default below, and is read too."""
MAX_BYTES = 8 * 1024 * 1024
_MOST_CLASSES = 100_000
_REBUILD = "build the engine again, which writes its manifest too: `resnet-dsl compile SPEC --target tensorrt`"

Text = Annotated[str, StringConstraints(max_length=1000)]
Hash = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,32}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}$")]
"""A file in the folder of the manifest: no path leads out of it."""
Target = Annotated[str, StringConstraints(pattern=r"^sm[1-9][0-9]{1,2}$")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Spec(_Model):
    """The spec's name, and the SHA-256 of it as it was composed, library and overrides included; how it was named,
    and with which `--set`."""

    name: Text
    sha256: Hash
    file: Text | None = None
    overrides: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()


class Weights(_Model):
    """The SHA-256 of the weights, whichever file they came from, and that file as it was named."""

    sha256: Hash
    file: Text | None = None


class Onnx(_Model):
    """The graph that the engine was built from: its SHA-256, and its file beside the engine where it was kept."""

    sha256: Hash
    file: FileName | None = None


class Calibration(_Model):
    """What the scales of an int8 or fp8 graph, or the ranges of an fp16 one, were measured on."""

    sha256: Hash
    about: Text = ""
    method: Text | None = None


class Wide(_Model):
    """Something that stayed in a wider type than the engine's, and why."""

    what: Text
    precision: Text
    why: Text = ""


class Compatibility(_Model):
    """Where else an engine of full TensorRT may run: `hardware` is its level, lower case, as in `ampere_plus`;
    `version`: in later releases of the same major version."""

    hardware: Text | None = None
    version: bool = False


class Engine(_Model):
    """The engine file itself."""

    file: FileName
    sha256: Hash
    bytes: Annotated[int, Field(ge=0)]
    product: Literal["tensorrt_rtx", "tensorrt"]
    version: Text
    precision: Text
    rest: Text | None = None
    """Of int8 and fp8: the type of what is not quantised."""
    wide: Annotated[tuple[Wide, ...], Field(max_length=100_000)] = ()
    targets: Annotated[tuple[Target, ...], Field(max_length=100)]
    architectures: Mapping[Target, Text] = Field(default_factory=dict)
    profiles: Annotated[tuple[Profile, ...], Field(max_length=1000)]
    """Empty where every dimension is fixed."""
    inputs: Annotated[tuple[Tensor, ...], Field(max_length=1000)]
    outputs: Annotated[tuple[Tensor, ...], Field(max_length=1000)]
    kernels: Annotated[int, Field(ge=0)] | None = None
    """Those of a call in the first profile."""
    compatibility: Compatibility = Compatibility()
    refit: bool = False
    executed: bool = False

    @property
    def capabilities(self) -> tuple[int, ...]:
        """The targets as numbers: sm86 is 86."""
        return tuple(int(target[2:]) for target in self.targets)


class Manifest(_Model):
    """Everything that is known of an engine where only files are left."""

    format: Literal[1, 2]
    resnet_dsl: Text
    spec: Spec
    weights: Weights
    onnx: Onnx
    calibration: Calibration | None = None
    engine: Engine
    input_shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=8)]
    """(C, H, W)."""
    preprocessing: dict[str, JsonValue] | None = None
    class_names: Annotated[tuple[Text, ...], Field(max_length=_MOST_CLASSES)] | None = None
    beside: Mapping[FileName, Hash] = Field(default_factory=dict)
    """The SHA-256 of other files that were written with the engine: its table of kernels, the graph's weights."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.engine.precision not in PRECISIONS:
            raise ValueError(f"there is no precision `{self.engine.precision}`")
        for profile in self.engine.profiles:
            sizes = (profile.batch, profile.height, profile.width)
            for size in sizes:
                if size is not None and not 1 <= size.min <= size.opt <= size.max <= LARGEST:
                    raise ValueError(f"a profile holds {size}, which is no min/opt/max")
        for tensor in (*self.engine.inputs, *self.engine.outputs):
            if len(tensor.shape) > 8 or any(not -1 <= size <= LARGEST for size in tensor.shape):
                raise ValueError(f"`{tensor.name}` is of a shape that no tensor has")
        return self

    @property
    def batch(self) -> Range | None:
        """The batch sizes that some profile takes, `opt` of the first; None where it is fixed."""
        ranges = [profile.batch for profile in self.engine.profiles]
        if not ranges or not self.engine.inputs or self.engine.inputs[0].shape[0] >= 0:
            return None
        return Range(
            min(item.min for item in ranges), ranges[0].opt, max(item.max for item in ranges)
        )


def manifest(
    report: EngineReport,
    *,
    spec_name: str,
    spec_hash: str,
    spec_file: str | None = None,
    overrides: Sequence[str] = (),
    weights_hash: str,
    weights_file: str | None = None,
    onnx_sha256: str,
    input_shape: Sequence[int],
    preprocessing: Mapping[str, Any] | None,
    class_names: Sequence[str] | None,
    onnx_file: str | None = None,
    calibration: Calibration | None = None,
    rest: str | None = None,
    wide: Sequence[Wide] = (),
    compatibility: Compatibility | None = None,
    refit: bool = False,
    beside: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The manifest of an engine as JSON. `input_shape` is (C, H, W); `preprocessing` is passed through (mean, std,
    resize, crop, colours); `beside` holds the SHA-256 of other files in the engine's folder, by name."""
    targets = tuple(f"sm{target}" for target in report.targets)
    engine = Engine(
        file=report.engine.name,
        sha256=report.sha256,
        bytes=report.size,
        product=PRODUCTS[report.product].key,  # type: ignore[arg-type]  # one of the two, checked by the model
        version=report.version,
        precision=report.precision,
        rest=rest,
        wide=tuple(wide),
        targets=targets,
        architectures={
            f"sm{target}": ARCHITECTURES.get(target, "unknown") for target in report.targets
        },
        profiles=report.profiles,
        inputs=report.inputs,
        outputs=report.outputs,
        kernels=None if report.kernels is None else len(report.launched),
        compatibility=compatibility or Compatibility(),
        refit=refit,
    )
    made = Manifest(
        format=FORMAT,
        resnet_dsl=__version__,
        spec=Spec(name=spec_name, sha256=spec_hash, file=spec_file, overrides=tuple(overrides)),
        weights=Weights(sha256=weights_hash, file=weights_file),
        onnx=Onnx(sha256=onnx_sha256, file=onnx_file),
        calibration=calibration,
        engine=engine,
        input_shape=tuple(int(size) for size in input_shape),
        preprocessing=None if preprocessing is None else json.loads(json.dumps(preprocessing)),
        class_names=None if class_names is None else tuple(class_names),
        beside=dict(beside or {}),
    )
    return made.model_dump(mode="json")


def manifest_path(engine: Path) -> Path:
    """Where the manifest of an engine stands: beside it, under its whole name and `.json`."""
    return engine.with_name(f"{engine.name}.json")


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises CompileError: RD001 where it cannot be read, RD634 where it is no manifest that this version understands.
    """
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise OSError(22, "it is no file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CompileError(
            Diagnostic("RD001", f"{path} cannot be read: {error.strerror or error}")
        ) from error
    if len(content) > MAX_BYTES:
        raise _malformed(path, f"it is larger than {MAX_BYTES // 1024**2} MiB")
    try:
        return Manifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        raise _malformed(path, _why(error)) from error


def _malformed(path: Path, why: str) -> CompileError:
    return CompileError(
        Diagnostic("RD634", f"{path} is no manifest of an engine", why=why, hint=_REBUILD)
    )


def _why(error: ValidationError) -> str:
    """The first thing wrong, with its place; a format of the future says all there is to say."""
    found = {item["loc"]: item for item in error.errors(include_url=False)}
    written = found[("format",)]["input"] if ("format",) in found else None
    if isinstance(written, int) and FORMAT < written < 1000:
        return (
            f"it is of format {written}, and this is resnet-dsl {__version__}, which reads up to format {FORMAT}: "
            "update it"
        )
    place, first = next(iter(found.items()))
    more = f", and {len(found) - 1} more findings" if len(found) > 1 else ""
    if first["type"] == "missing":
        return f"`{_dotted(place)}` is missing{more}"
    said = first["msg"].removeprefix("Value error, ")
    if not place:
        return said
    shown = repr(first["input"])
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    return f"`{_dotted(place)}` is {shown}: {said[:1].lower()}{said[1:]}{more}"


def _dotted(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))[:100]
