"""What stands beside an engine: everything that went into it, so that it can be checked and built again.

The same inputs give the same manifest, but for the engine's own SHA-256 and size where the builder is not
reproducible (fp32 and int8 engines differ from run to run). Times and memory belong to the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from resnet_dsl import __version__
from resnet_dsl.backends.tensorrt.report import EngineReport

FORMAT = 1


def manifest(
    report: EngineReport,
    *,
    spec_name: str,
    spec_hash: str,
    weights_hash: str,
    onnx_sha256: str,
    input_shape: Sequence[int],
    preprocessing: Mapping[str, Any] | None,
    class_names: Sequence[str] | None,
) -> dict[str, Any]:
    """A JSON-able mapping. `input_shape` is (C, H, W); `preprocessing` is passed through (mean, std, resize, …)."""
    return {
        "format": FORMAT,
        "resnet_dsl": __version__,
        "spec": {"name": spec_name, "sha256": spec_hash},
        "weights": {"sha256": weights_hash},
        "onnx": {"sha256": onnx_sha256},
        "engine": {
            "file": report.engine.name,
            "sha256": report.sha256,
            "bytes": report.size,
            "product": report.product,
            "version": report.version,
            "precision": report.precision,
            "targets": [f"sm{target}" for target in report.targets],
            "profiles": [asdict(profile) for profile in report.profiles],
            "inputs": [_tensor(item) for item in map(asdict, report.inputs)],
            "outputs": [_tensor(item) for item in map(asdict, report.outputs)],
            "kernels": None if report.kernels is None else len(report.kernels),
            "executed": False,
        },
        "input_shape": [int(size) for size in input_shape],
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "class_names": None if class_names is None else list(class_names),
    }


def _tensor(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "shape": list(raw["shape"])}
