"""For every spec: the torch target and the ONNX target compute the same thing from one file of weights.

The weights are the seeded ones, with statistics that put folding to the test and keep the net well conditioned: a
residual net takes those of a real forward pass (without them 600 additions overflow); a plain net must not, because
normalising every layer of a deep plain net multiplies rounding errors layer by layer (their
condition grows with depth), so it takes random ones near the identity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

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


def _with_real_statistics(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Running statistics as one batch gives them, with every path open and nothing dropped."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches: of this one
            module.train()
    with torch.no_grad():
        model(images)
    model.eval()


def _with_mild_statistics(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.05, generator=generator)
            module.running_var.uniform_(0.8, 1.25, generator=generator)


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
    if compilation.spec.shortcut.name == "none":
        _with_mild_statistics(model)
    else:
        _with_real_statistics(model, images)
    save_file(model.state_dict(), weights)
    with torch.no_grad():
        expected = model(images).numpy()

    build(str(path), BuildOptions(("onnx",), tmp_path, weights=weights))
    file = tmp_path / f"{name}.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": images.numpy()})
    (one,) = session.run(None, {"input": images.numpy()[:1]})

    assert np.isfinite(expected).all()
    scale = np.abs(expected).max()
    assert scale > 0
    assert np.abs(found - expected).max() <= TOLERANCE * scale
    assert np.abs(one - expected[:1]).max() <= TOLERANCE * scale
