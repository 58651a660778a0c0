"""Packages that are not installed: only what needs them fails, and says what to install."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler_tests.commands.running import run, without


@pytest.mark.parametrize(
    ("packages", "command", "code", "hint"),
    [
        ("tensorrt_rtx,tensorrt", "compile small.yaml", "RD620", "pip install tensorrt-rtx"),
        ("torch", "train small.yaml", "RD650", "pip install"),
        ("sklearn", "train small.yaml", "RD650", "pip install"),
        ("torch", "demo", "RD650", "pip install"),
        ("onnxruntime", "demo", "RD650", "pip install"),
        ("torch", "build small.yaml -t onnx --weights w.pth", "RD505", "resnet-dsl[torch]"),
        ("safetensors", "build small.yaml -t onnx --weights w.safetensors", "RD650", "pip install"),
        ("rich", "describe small.yaml --set classes=2", "RD650", "pip install"),
        ("yaml", "check small.yaml", "RD650", "pip install"),
        ("jinja2", "build small.yaml", "RD650", "pip install"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(
    spec: Path, tmp_path: Path, packages: str, command: str, code: str, hint: str
) -> None:
    (tmp_path / "w.pth").write_bytes(bytes.fromhex("80028a0a6cfc9c46f9206aa85019") + bytes(64))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    content = len(header).to_bytes(8, "little") + header + np.zeros(1, "<f4").tobytes()
    (tmp_path / "w.safetensors").write_bytes(content)
    env = without(packages, tmp_path / "blocked")
    done = run(*command.split(), cwd=tmp_path, env=env)
    assert done.returncode == 2, done.stderr
    assert f"error[{code}]" in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "generated").exists()


@pytest.mark.parametrize(
    ("packages", "command"),
    [
        ("torch,onnx,onnxruntime,tensorrt_rtx,sklearn,rich,safetensors", "build small.yaml"),
        ("torch,onnx,onnxruntime,tensorrt_rtx,sklearn,rich", "build small.yaml -t onnx"),
        ("torch,numpy,onnx", "build small.yaml -t torch -t train"),
        ("torch,numpy,onnx,rich", "check small.yaml"),
        ("torch,numpy,onnx", "describe small.yaml"),
    ],
)
def test_what_is_not_needed_is_not_missed(
    spec: Path, tmp_path: Path, packages: str, command: str
) -> None:
    env = without(packages, tmp_path / "blocked")
    done = run(*command.split(), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
