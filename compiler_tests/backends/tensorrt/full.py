"""Full TensorRT where it cannot be installed: `fake_tensorrt` in its place, in the parent and in the child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.commands.running import REPOSITORY
from resnet_dsl.backends.tensorrt import products

FAKE = Path(__file__).parent / "fake_tensorrt"
TEN, ELEVEN = "10.13.2.6", "11.0.0.114"


def install(
    monkeypatch: pytest.MonkeyPatch,
    version: str = TEN,
    gpus: str = "NVIDIA A100:80",
    **environment: str,
) -> None:
    """Make full TensorRT of a release, on a machine with these GPUs, the only product here."""
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt")
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}:{REPOSITORY}")
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    monkeypatch.setenv("FAKE_TENSORRT_GPUS", gpus)
    for name, value in environment.items():
        monkeypatch.setenv(f"FAKE_TENSORRT_{name.upper()}", value)


def settings_of(engine: Path) -> dict[str, Any]:
    """Everything that was set when a stand-in of an engine was built."""
    found = json.loads(engine.read_bytes()[32:])
    assert isinstance(found, dict)
    return found
