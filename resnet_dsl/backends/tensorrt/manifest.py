"""What stands beside an engine: everything that went into it, so that it can be checked and built again.

The same inputs give the same manifest, but for the engine's own SHA-256 and size where the builder is not
reproducible (fp32 and int8 engines differ from run to run). Times and memory belong to the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resnet_dsl import __version__
from resnet_dsl.backends.tensorrt.report import EngineReport

FORMAT = 1
_OF_THE_REPORT = (
    "sha256",
    "bytes",
    "product",
    "version",
    "precision",
    "targets",
    "profiles",
    "inputs",
    "outputs",
)


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
    engine = report.as_dict()
    return {
        "format": FORMAT,
        "resnet_dsl": __version__,
        "spec": {"name": spec_name, "sha256": spec_hash},
        "weights": {"sha256": weights_hash},
        "onnx": {"sha256": onnx_sha256},
        "engine": {
            "file": report.engine.name,
            **{key: engine[key] for key in _OF_THE_REPORT},
            "kernels": engine["kernel_count"],
            "executed": False,
        },
        "input_shape": [int(size) for size in input_shape],
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "class_names": None if class_names is None else list(class_names),
    }
