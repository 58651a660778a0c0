"""What has to hold for every spec: the emitted module is the network of the IR, and the ONNX target computes the same.

Networks here are small; each function asserts one thing about a spec that has been compiled.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compiler_tests import onnx_runs
from compiler_tests.emitted import import_file
from resnet_dsl.analysis.parameters import total_parameters
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.compiler import Compilation, compile_spec, torch_source
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Init
from resnet_dsl.ir.text import graph_text, program_text
from resnet_dsl.ir.verify import verify
from resnet_dsl.weights.state import state
from resnet_dsl.weights.store import Array, LoadedWeights, SeededWeights

TOLERANCE = 1e-4
NEAR_ZERO = 1e-6
"""Digits that ONNX Runtime loses near zero, where an activation is exp(x) - 1 to it."""
MANY = 200
"""Numbers from which on the spread of a drawn tensor is near the one asked for."""

State = Mapping[str, Array]


class Emitted:
    """The torch target of a spec, written to `folder` and imported."""

    def __init__(self, compilation: Compilation, folder: Path) -> None:
        self.compilation = compilation
        self.name = compilation.spec.name
        self.source = torch_source(compilation)
        file = folder / f"{self.name}.py"
        file.write_text(self.source, encoding="utf-8")
        self.module = import_file(file)

    def model(self) -> torch.nn.Module:
        """The network with freshly drawn weights, the same ones each time."""
        torch.manual_seed(0)
        model = getattr(self.module, self.name)()
        assert isinstance(model, torch.nn.Module)
        return model

    def backbone(self, stages: tuple[str, ...]) -> Any:
        """The outputs of stages; None where the target makes no backbone."""
        factory = getattr(self.module, f"{self.name}_backbone", None)
        return None if factory is None else factory(stages)

    def forget(self) -> None:
        """Take the module out of the interpreter's table."""
        sys.modules.pop(self.module.__name__, None)


def images(compilation: Compilation, batch: int = 2) -> torch.Tensor:
    """(N, C, H, W)"""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, *compilation.program.input, generator=generator)


def assert_state_is_the_graphs(model: torch.nn.Module, graph: Graph) -> None:
    """Keys, their order, shapes and element types; and the number of parameters."""
    found = [(key, tuple(tensor.shape), tensor.dtype) for key, tensor in model.state_dict().items()]
    expected = [
        (item.key, item.shape, torch.int64 if item.counter else torch.float32)
        for item in state(graph)
    ]
    assert found == expected
    counted = total_parameters(graph)
    assert sum(tensor.numel() for tensor in model.parameters()) == counted.trainable
    buffers = sum(tensor.numel() for tensor in model.buffers() if tensor.dtype == torch.float32)
    assert buffers == counted.buffers


def assert_initialised(model: torch.nn.Module, graph: Graph) -> None:
    """Fresh weights are as the graph says: filled exactly, and drawn with the spread that is asked for."""
    fresh = model.state_dict()
    for item in state(graph):
        found = fresh[item.key].to(torch.float64)
        match item.fill:
            case Init() as init:
                drawn = SeededWeights(0).get(item.key, item.shape, init)
                if init.kind == "zeros":
                    assert not found.any(), item.key
                elif found.numel() >= MANY:
                    wanted = float(drawn.std())
                    assert math.isclose(float(found.std()), wanted, rel_tol=0.4), item.key
            case fill:
                assert torch.all(found == torch.tensor(fill, dtype=torch.float32)), item.key


def seeded_state(graph: Graph, seed: int) -> State:
    """The numbers of a seed, by key."""
    weights = SeededWeights(seed)
    items = [item for item in state(graph) if not item.counter]
    return {item.key: weights.get(item.key, item.shape, item.fill) for item in items}


def trained_state(graph: Graph, seed: int) -> State:
    """The numbers of a seed, moved as training moves them: nothing is zero or one, statistics vary."""
    generator = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for key, tensor in seeded_state(graph, seed).items():
        noise = generator.normal(0, 0.1, tensor.shape)
        if key.endswith("running_var"):
            noise = generator.uniform(-0.2, 0.25, tensor.shape)
        found[key] = (tensor + noise).astype(np.float32)
    return found


def load(model: torch.nn.Module, graph: Graph, arrays: State) -> None:
    """Load a state dict, strictly."""
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
    tensors |= {
        item.key: torch.zeros((), dtype=torch.int64) for item in state(graph) if item.counter
    }
    model.load_state_dict(tensors, strict=True)


def is_finite(model: torch.nn.Module, x: torch.Tensor) -> bool:
    """Whether all that the network computes stays far within float32: products of products may not."""
    found: list[bool] = []
    hooks = [
        module.register_forward_hook(lambda *seen: found.append(_is_finite(seen[-1])))
        for module in model.modules()
    ]
    with torch.no_grad():
        found.append(_is_finite(model.eval()(x)))
    for hook in hooks:
        hook.remove()
    return all(found)


def _is_finite(value: object) -> bool:
    return not isinstance(value, torch.Tensor) or bool((value.abs() < 1e12).all())


def assert_targets_agree(
    emitted: Emitted, arrays: State, options: OnnxOptions, *, fold: bool, x: torch.Tensor
) -> None:
    """Network and stages, torch against ONNX Runtime: within 1e-4 of the largest absolute output, and ten times what
    rounding does to torch itself."""
    compilation = emitted.compilation
    model = emitted.model().eval()
    load(model, compilation.graph, arrays)
    graph = compilation.inference_graph(fold=fold)
    stages = tuple(feature.stage for feature in compilation.program.features)
    backbone = emitted.backbone(stages)
    outputs = OnnxOptions(options.opset, outputs=stages if backbone is not None else ())
    found = onnx_runs.run(onnx_runs.to_bytes(graph, LoadedWeights(arrays), outputs), x.numpy())
    with torch.no_grad():
        results = {"logits": (model(x), model.double()(x.double()))}
        if backbone is not None:
            kept = {
                key: value
                for key, value in model.float().state_dict().items()
                if key in backbone.state_dict()
            }
            backbone.eval().load_state_dict(kept, strict=True)
            exact = backbone(x), backbone.double()(x.double())
            results |= {stage: (exact[0][stage], exact[1][stage]) for stage in stages}
            assert backbone.channels == tuple(exact[0][stage].shape[1] for stage in stages)
    named = dict(zip(("logits", *stages), found.values(), strict=False))
    for name, (single, double) in results.items():
        _assert_close(
            named[name], single.numpy(), double.numpy(), f"{name}, {options}, fold={fold}"
        )


def _assert_close(found: Array, single: Array, double: Array, what: str) -> None:
    assert found.shape == single.shape, what
    rounding = np.abs(single - double).max()
    allowed = TOLERANCE * np.abs(double).max() + NEAR_ZERO + 10 * rounding
    assert np.abs(found - single).max() <= allowed, what


def assert_trains(model: torch.nn.Module, x: torch.Tensor) -> None:
    """A step of training gives every parameter a gradient, and moves no frozen buffer."""
    model.train()
    y = model(x)
    target = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    loss = torch.nn.functional.mse_loss(y, target)
    torch.autograd.backward(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape
        assert not _is_finite(y) or bool(torch.isfinite(parameter.grad).all()), name


def assert_sound(file: Path, options: OnnxOptions, *, fold: bool, seed: int) -> Emitted | None:
    """All of it, for the spec in `file`, whose source stays beside it; None where numbers overflow."""
    compilation = compile_spec(file)
    graph = compilation.graph
    verify(graph)
    assert program_text(compilation.program)
    assert graph_text(compilation.inference_graph(fold=fold))
    emitted = Emitted(compilation, file.parent)
    try:
        model = emitted.model()
        assert_state_is_the_graphs(model, graph)
        assert_initialised(model, graph)
        arrays = trained_state(graph, seed)
        load(model, graph, arrays)
        x = images(compilation)
        if not is_finite(model, x):
            return None
        assert_targets_agree(emitted, arrays, options, fold=fold, x=x)
        assert_trains(model, x)
    finally:
        emitted.forget()
    return emitted
