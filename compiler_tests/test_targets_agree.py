"""For every spec: the torch target and the ONNX target compute the same thing from one file of weights.

The weights are the seeded ones, made to act as trained ones do: random statistics near those of normalised
activations put folding to the test, and the last convolution of each residual is scaled by 1/sqrt(blocks), without
which 600 additions overflow, and rounding errors grow from block to block in both targets alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler_tests import onnx_runs
from compiler_tests.emitted import all_specs, construct
from resnet_dsl.commands.build import BuildOptions, build
from resnet_dsl.compiler import compile_spec

TOLERANCE = 1e-4

HEAVY = 3_000_000_000
"""Multiply-adds from which a spec's test is a slow one."""


def _cases() -> list[object]:
    from resnet_dsl.analysis.macs import total_macs

    cases: list[object] = []
    for path in all_specs():
        heavy = total_macs(compile_spec(path).graph) > HEAVY or "1001" in path.stem
        marks = [pytest.mark.slow] if heavy else []
        cases.append(pytest.param(path, id=path.stem, marks=marks))
    return cases


def _act_as_trained(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.05, generator=generator)
            module.running_var.uniform_(0.8, 1.25, generator=generator)


def _calm_residuals(model: torch.nn.Module) -> None:
    lasts: list[Any] = [
        [child for name, child in block.named_children() if name.startswith("conv")][-1]
        for stage in model.children()
        if isinstance(stage, torch.nn.Sequential)
        for block in stage.children()
        if hasattr(block, "conv1")
    ]
    for conv in lasts:
        conv.weight.mul_(len(lasts) ** -0.5)


@pytest.mark.parametrize("path", _cases())
def test_onnx_runtime_agrees_with_the_torch_target(path: Path, tmp_path: Path) -> None:
    compilation = compile_spec(path)
    name = compilation.spec.name
    build(str(path), BuildOptions(("torch",), tmp_path, seed=3, write_weights=True))
    model = construct(tmp_path / f"{name}.py").eval()
    weights = tmp_path / f"{name}.safetensors"
    model.load_state_dict(load_file(weights), strict=True)
    channels, height, width = compilation.program.input
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, channels, height, width, generator=generator)
    with torch.no_grad():
        _act_as_trained(model)
        if compilation.spec.shortcut.name != "none":
            _calm_residuals(model)
    save_file(model.state_dict(), weights)
    with torch.no_grad():
        expected = model(images).numpy()

    build(str(path), BuildOptions(("onnx",), tmp_path, weights=weights))
    file = tmp_path / f"{name}.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    session = onnx_runs.session(file)
    (found,) = session.run(None, {"input": images.numpy()})
    (one,) = session.run(None, {"input": images.numpy()[:1]})

    assert np.isfinite(expected).all()
    scale = np.abs(expected).max()
    assert scale > 0
    assert np.abs(found - expected).max() <= TOLERANCE * scale
    assert np.abs(one - expected[:1]).max() <= TOLERANCE * scale
