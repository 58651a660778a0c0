"""What stands beside an engine: its manifest, and the report on its kernels as data and as a picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.backends.tensorrt.fusion import FusionReport
from resnet_dsl.backends.tensorrt.manifest import (
    Calibration,
    Compatibility,
    Manifest,
    Wide,
    manifest,
)
from resnet_dsl.backends.tensorrt.runner import runner_file, runner_source
from resnet_dsl.calibrate.decided import Decided
from resnet_dsl.compiler import Compilation
from resnet_dsl.evaluate.preprocessing import preparation

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.report import EngineReport


@dataclass(frozen=True, slots=True)
class Made:
    """What engines were made of. `onnx` names the graph's file, `file` that of the weights, if they are in one; `spec`
    is what the user named, with `overrides`."""

    compilation: Compilation
    decided: Decided
    weights_digest: str
    onnx: str
    file: Path | None
    spec: str | None = None
    overrides: tuple[str, ...] = ()
    noise: bool = False
    """Whether ranges are of noise, which says nothing of how images are prepared."""


def write_files(
    artifacts: Artifacts,
    made: Made,
    reports: Sequence[EngineReport],
    fusions: Sequence[Sequence[FusionReport]],
) -> list[Manifest]:
    """Write what goes beside the engines: their manifests, which are returned, reports, and programs that run them."""
    decided, compilation = made.decided, made.compilation
    ready = preparation(compilation, made.file)
    feed = None if made.noise else decided.feed
    steps = dict(feed.preprocessing) if feed is not None else ready.steps
    classes = ready.classes
    if classes is None and feed is not None:
        classes = feed.classes or None
    manifests = []
    onnx_hash = _sha256(artifacts.staged(made.onnx))
    for report, fusion in zip(reports, fusions, strict=True):
        beside = {made.onnx: onnx_hash}
        stem = report.engine.name.removesuffix(".engine")
        for one in fusion:
            beside |= _kernels(artifacts, stem, one)
        described = manifest(
            report,
            spec_name=compilation.spec.name,
            spec_hash=compilation.program.spec_hash,
            spec_file=made.spec,
            overrides=made.overrides,
            weights_hash=made.weights_digest,
            weights_file=None if made.file is None else str(made.file)[:1000],
            onnx_sha256=onnx_hash,
            onnx_file=made.onnx,
            input_shape=compilation.program.input,
            preprocessing=steps,
            class_names=classes,
            calibration=_calibration(decided),
            rest=decided.rest,
            wide=_wide(decided),
            compatibility=Compatibility(
                hardware=report.hardware, version=report.version_compatible
            ),
            refit=report.refit,
            beside=beside,
        )
        artifacts.text(f"{report.engine.name}.json", json.dumps(described, indent=2) + "\n")
        found = Manifest.model_validate_json(json.dumps(described))
        artifacts.text(runner_file(found), runner_source(found))
        manifests.append(found)
    return manifests


def _kernels(artifacts: Artifacts, stem: str, fusion: FusionReport) -> dict[str, str]:
    """The report on a profile's kernels as data and as a picture; the hashes of both by name."""
    stem += f".profile{fusion.profile}" if fusion.profile else ""
    texts = {
        f"{stem}.kernels.json": json.dumps(fusion.as_dict(), indent=2) + "\n",
        f"{stem}.kernels.svg": fusion.svg(),
    }
    for name, text in texts.items():
        artifacts.text(name, text)
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def _calibration(decided: Decided) -> Calibration | None:
    seen = decided.calibration
    if seen is None:
        return None
    return Calibration(sha256=seen.sha256, about=seen.about, method=decided.method or None)


def _wide(decided: Decided) -> list[Wide]:
    """What computes in a wider type than the engine's, and why."""
    numbers = decided.numbers
    rest = decided.rest or "fp32"
    found = [Wide(what=name, precision=rest, why="as asked") for name in decided.kept]
    if decided.mix is not None:
        why = "the accuracy would have left its budget"
        found += [Wide(what=unit.name, precision=rest, why=why) for unit in decided.mix.wide]
    found += [
        Wide(
            what=name, precision="fp32", why=f"its values go up to {largest:.6g}, and fp16 to 65504"
        )
        for name, largest in decided.overflow.items()
        if name in numbers.wide
    ]
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
