"""Graphs run by torch, one function an operation: the oracle for every target's numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np
import torch
from torch.nn import functional

from resnet_dsl.ir.graph import ConcreteOp, Graph, Shape
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Dequantize,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Init,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Quantize,
    Subsample,
)
from resnet_dsl.weights.initialise import stream
from resnet_dsl.weights.store import Array, Weights, materialise

torch.set_num_threads(1)


class RandomWeights:
    """Weights as after training: statistics and affine terms that are not zero and one."""

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        draws = stream(key, 7)
        if key.endswith("running_var"):
            return draws.uniform(0.5, 2.0, shape).astype(np.float32)
        scale = 1.0 if len(shape) == 1 else float(np.prod(shape[1:])) ** -0.5
        return (draws.standard_normal(shape) * scale).astype(np.float32)


def image(graph: Graph, batch: int = 2, seed: int = 0) -> Array:
    """A random batch for the graph, (N, C, H, W)."""
    shape = (batch, *graph.input)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(graph: Graph, weights: Weights, x: Array) -> dict[str, Array]:
    """The logits and all features, in float32."""
    values = all_values(graph, weights, x)
    named = {"logits": graph.output} | {item.name: item.value for item in graph.features}
    return {name: values[value].numpy() for name, value in named.items()}


def all_values(graph: Graph, weights: Weights, x: Array) -> list[torch.Tensor]:
    """Every value of the graph by its number, the input first."""
    values = [torch.from_numpy(x)]
    for node in graph.nodes:
        constants = [torch.from_numpy(materialise(item, weights)) for item in node.constants]
        values.append(apply(node.op, [values[value] for value in node.inputs], constants))
    return values


def ranges(graph: Graph, weights: Weights, x: Array, names: Sequence[str]) -> dict[str, float]:
    """The largest magnitude of each value of these names."""
    values = all_values(graph, weights, x)
    numbers = {"input": 0} | {node.name: number for number, node in enumerate(graph.nodes, 1)}
    return {name: float(values[numbers[name]].abs().max()) for name in names}


def apply(
    op: ConcreteOp, inputs: list[torch.Tensor], constants: list[torch.Tensor]
) -> torch.Tensor:
    """The operation at inference."""
    x = inputs[0]
    bias = constants[1] if len(constants) > 1 else None
    match op:
        case Conv():
            return functional.conv2d(
                x, constants[0], bias, op.stride, op.padding, op.dilation, groups=op.groups
            )
        case Linear():
            return functional.linear(x, constants[0], bias)
        case BatchNorm() | FrozenBatchNorm():
            weight, shift, mean, variance = constants
            return functional.batch_norm(x, mean, variance, weight, shift, eps=op.eps)
        case GroupNorm():
            return functional.group_norm(x, op.groups, constants[0], constants[1], op.eps)
        case Activation():
            return activation(op, x)
        case MaxPool():
            return functional.max_pool2d(x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil)
        case AvgPool():
            return functional.avg_pool2d(
                x, op.kernel, op.stride, op.padding, ceil_mode=op.ceil, count_include_pad=False
            )
        case AdaptiveAvgPool():
            return functional.adaptive_avg_pool2d(x, op.size)
        case Flatten():
            return torch.flatten(x, 1)
        case Dropout() | DropPath():
            return x
        case Subsample():
            return x[:, :, :: op.stride, :: op.stride]
        case PadChannels():
            more = op.out_channels - op.in_channels
            before = more // 2 if op.side == "symmetric" else 0
            return functional.pad(x, (0, 0, 0, 0, before, more - before))
        case Add():
            return torch.stack(inputs).sum(0)
        case Multiply():
            product = x
            for other in inputs[1:]:
                product = product * other
            return product
        case Concat():
            return torch.cat(inputs, 1)
        case Gate():
            inner, carried, gate = inputs
            return inner * gate + carried * (1 - gate)
        case Cast():
            return x.to(getattr(torch, op.dtype))
        case Quantize("float8_e4m3fn", scale):
            return (x / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
        case Quantize(dtype, scale, zero):
            least, most = (-128, 127) if dtype == "int8" else (0, 255)
            kind = torch.int8 if dtype == "int8" else torch.uint8
            return (torch.round(x / scale) + zero).clamp(least, most).to(kind)
        case Dequantize(_, scale, zero):
            return (x.to(torch.float32) - zero) * scale
        case _:
            assert_never(op)


def activation(op: Activation, x: torch.Tensor) -> torch.Tensor:
    match op.kind:
        case "leaky_relu":
            return functional.leaky_relu(x, op.slope)
        case "elu":
            return functional.elu(x, op.slope)
        case "sigmoid" | "tanh":
            return torch.sigmoid(x) if op.kind == "sigmoid" else torch.tanh(x)
        case _:
            functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
                "relu": functional.relu,
                "relu6": functional.relu6,
                "gelu": functional.gelu,
                "silu": functional.silu,
                "mish": functional.mish,
                "hardswish": functional.hardswish,
                "hardsigmoid": functional.hardsigmoid,
                "softplus": functional.softplus,
            }
            return functions[op.kind](x)
