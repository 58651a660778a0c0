"""Files that look like engines, and their manifests, for what reads them without running them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from resnet_dsl.backends.tensorrt.manifest import Manifest, manifest_path
from resnet_dsl.backends.tensorrt.products import PRODUCTS

VERSIONS = {"tensorrt_rtx": "1.7.1.116", "tensorrt": "10.13.0.35"}


def engine_bytes(
    product: str = "tensorrt_rtx", size: int = 4096, version: str | None = None
) -> bytes:
    """The bytes of an engine: a header that is right, and then noise that is the same each time."""
    magic = PRODUCTS[product].magic
    numbers = (version or VERSIONS[product]).split(".")
    word = size.to_bytes(8, "little") if product == "tensorrt_rtx" else bytes(8)
    start = magic + bytes(12) + word + bytes(int(item) % 256 for item in numbers) + magic
    noise = b"".join(sha256(bytes([item % 256])).digest() for item in range(size // 32 + 1))
    return (start + noise)[:size]


def described(content: bytes, product: str = "tensorrt_rtx", **changes: Any) -> dict[str, Any]:
    """A manifest of those bytes as JSON; `changes` go over its parts, `engine={...}` over what is in that one."""
    rtx = product == "tensorrt_rtx"
    made: dict[str, Any] = {
        "format": 2,
        "resnet_dsl": "0.1.0",
        "spec": {"name": "resnet50", "sha256": "a1" * 32},
        "weights": {"sha256": "b2" * 32},
        "onnx": {"file": None, "sha256": "c3" * 32},
        "calibration": None,
        "engine": {
            "file": "net.fp16.engine",
            "sha256": sha256(content).hexdigest(),
            "bytes": len(content),
            "product": product,
            "version": VERSIONS[product],
            "precision": "fp16",
            "targets": ["sm86", "sm89"] if rtx else ["sm90"],
            "profiles": [{"batch": {"min": 1, "opt": 8, "max": 64}, "height": None, "width": None}],
            "inputs": [{"name": "input", "data_type": "float32", "shape": [-1, 3, 224, 224]}],
            "outputs": [{"name": "logits", "data_type": "float32", "shape": [-1, 3]}],
            "kernels": 59,
        },
        "input_shape": [3, 224, 224],
        "preprocessing": {
            "resize": 256,
            "crop": [224, 224],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "class_names": ["cat", "dog", "newt"],
    }
    made["engine"] |= changes.pop("engine", {})
    return made | changes


def manifest_of(content: bytes, product: str = "tensorrt_rtx", **changes: Any) -> Manifest:
    return Manifest.model_validate_json(json.dumps(described(content, product, **changes)))


def write_engine(folder: Path, product: str = "tensorrt_rtx", **changes: Any) -> Path:
    """An engine and its manifest in `folder`."""
    path = folder / "net.fp16.engine"
    content = engine_bytes(product)
    path.write_bytes(content)
    manifest_path(path).write_text(json.dumps(described(content, product, **changes)))
    return path
