"""Activations as ONNX operators: one where the opset has it, what it is made of where not."""

from __future__ import annotations

from math import sqrt
from typing import assert_never

from resnet_dsl.backends.onnx.builder import GraphBuilder
from resnet_dsl.ir.graph import FloatType
from resnet_dsl.ir.ops import Activation

_SOFTPLUS_IS_X = 20.0  # log(1 + exp(x)) is x in float16 from here on


def emit_activation(
    build: GraphBuilder, op: Activation, dtype: FloatType, result: str, x: str
) -> str:
    """Add the activation of `x`, which makes the value `result`; returns its name."""
    # TensorRT takes Mish and HardSwish of every type but bfloat16, and what they are made of.
    match op.kind:
        case "relu":
            return build.node("Relu", result, (x,))
        case "relu6":
            low, high = build.scalar(0.0, dtype), build.scalar(6.0, dtype)
            return build.node("Clip", result, (x, low, high))
        case "leaky_relu":
            return build.node("LeakyRelu", result, (x,), alpha=float(op.slope))
        case "elu":
            return build.node("Elu", result, (x,), alpha=float(op.slope))
        case "gelu":
            return _gelu(build, dtype, result, x)
        case "silu":
            return build.node("Mul", result, (x, build.step("Sigmoid", result, (x,))))
        case "mish":
            if build.opset >= 18 and dtype != "bfloat16":
                return build.node("Mish", result, (x,))
            soft = build.step("Softplus", result, (x,))
            return build.node("Mul", result, (x, build.step("Tanh", result, (soft,))))
        case "hardswish":
            if build.opset >= 14 and dtype != "bfloat16":
                return build.node("HardSwish", result, (x,))
            gate = build.step("HardSigmoid", result, (x,), alpha=1 / 6, beta=0.5)
            return build.node("Mul", result, (x, gate))
        case "hardsigmoid":
            return build.node("HardSigmoid", result, (x,), alpha=1 / 6, beta=0.5)
        case "sigmoid":
            return build.node("Sigmoid", result, (x,))
        case "tanh":
            return build.node("Tanh", result, (x,))
        case "softplus":
            if dtype != "float16":
                return build.node("Softplus", result, (x,))
            # ONNX Runtime takes the exponential first, which is infinite from 89 on, where softplus has long been x.
            low = build.step("Min", result, (x, build.scalar(_SOFTPLUS_IS_X, dtype)))
            return build.node("Max", result, (x, build.step("Softplus", result, (low,))))
        case _:
            assert_never(op.kind)


def _gelu(build: GraphBuilder, dtype: FloatType, result: str, x: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2 (Hendrycks & Gimpel 2016)."""
    if build.opset >= 20:
        return build.node("Gelu", result, (x,))
    scaled = build.step("Div", result, (x, build.scalar(sqrt(2), dtype)))
    wave = build.step("Erf", result, (scaled,))
    shifted = build.step("Add", result, (wave, build.scalar(1.0, dtype)))
    product = build.step("Mul", result, (x, shifted))
    return build.node("Mul", result, (product, build.scalar(0.5, dtype)))
