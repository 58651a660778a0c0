"""Every operation in float64 is what torch computes in float32, and what codes are is what the weights' codes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from compiler_tests import torch_reference
from compiler_tests.verify import nets
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.ops import Activation, ActivationKind, CodeType, Dequantize, Init, Quantize
from resnet_dsl.verify.interpreter import apply
from resnet_dsl.verify.walk import run
from resnet_dsl.weights import encode
from resnet_dsl.weights.store import Array, Weights

EVERY = pytest.mark.parametrize("spec", nets.SPECS.values(), ids=nets.SPECS.keys())


@dataclass(frozen=True, slots=True)
class Copies:
    """Weights that may be written."""

    source: Weights

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        return self.source.get(key, shape, fill).copy()


@EVERY
def test_a_network_is_what_torch_computes(spec: str) -> None:
    reference = nets.reference(spec)
    wanted = torch_reference.run(
        reference.graph, Copies(nets.weights(spec)), reference.images.numpy()
    )["logits"]
    found = run(
        reference.graph,
        reference.numbers,
        reference.images,
        lambda node: node.name == reference.final,
    )[reference.final]
    assert found.dtype == torch.float64
    scale = float(np.abs(wanted).max())
    assert float((found - torch.from_numpy(wanted)).abs().max()) < 1e-4 * scale


KINDS: tuple[ActivationKind, ...] = (
    *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu"),
    *("mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_those_of_torch(kind: ActivationKind) -> None:
    x = torch.linspace(-30, 30, 10_001, dtype=torch.float64)
    op = Activation(kind, 0.3)
    found, wanted = apply(op, [x], []), torch_reference.activation(op, x)
    assert float((found - wanted).abs().max()) < 3e-9  # torch's softplus is x from 20 on


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn"])
def test_codes_are_those_of_the_weights(dtype: CodeType) -> None:
    scale = 0.0625  # a power of two, so that both divide alike
    drawn = np.random.default_rng(0).normal(0, 3, 5000).astype(np.float32)
    ties = np.arange(-300, 300, dtype=np.float32) * np.float32(scale / 2)
    x = np.concatenate([drawn, ties, drawn * 100])[None]
    ones = np.full(1, scale, np.float32)
    codes = encode.codes(x, ones, dtype)
    found = apply(Quantize(dtype, scale), [torch.from_numpy(x).double()], [])
    values = apply(Dequantize(dtype, scale), [found], []).numpy()
    wanted = encode.decoded(codes, ones, dtype)
    inside = (
        x > -127.5 * scale if dtype == "int8" else np.full(x.shape, True)
    )  # -128 is no weight's
    assert np.array_equal(values[inside], wanted[inside])


def test_a_zero_point_moves_the_codes() -> None:
    x = torch.tensor([[-100.0, -1.0, 0.0, 0.26, 100.0]], dtype=torch.float64)
    codes = apply(Quantize("uint8", 0.5, 128), [x], [])
    assert codes.tolist() == [[0, 126, 128, 129, 255]]
    back: Tensor = apply(Dequantize("uint8", 0.5, 128), [codes], [])
    assert back.tolist() == [[-64.0, -1.0, 0.0, 0.5, 63.5]]
