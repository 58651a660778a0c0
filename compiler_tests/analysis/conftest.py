"""A way to write graphs by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from resnet_dsl.ir.graph import ConcreteOp, Constant, Graph, Node, Shape, Stored
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    Init,
    Linear,
    MaxPool,
)
from resnet_dsl.ir.parameters import parameters
from resnet_dsl.ir.shapes import infer


class Net:
    """Adds nodes one by one; each method returns the number of its result."""

    def __init__(self, *shape: int) -> None:
        self.input: Shape = shape
        self.nodes: list[Node] = []
        self.group = ""
        self.block = ""

    def shape(self, value: int) -> Shape:
        return self.nodes[value - 1].shape if value else self.input

    def add(self, op: ConcreteOp, *inputs: int, name: str = "") -> int:
        name = name or f"n{len(self.nodes)}"
        constants = tuple(
            Constant(f"{name}.{p.name}", p.shape, Stored(f"{name}.{p.name}", p.fill), p.trainable)
            for p in parameters(op)
            if p.dtype == "float32"
        )
        shape = infer(op, [self.shape(value) for value in inputs])
        self.nodes.append(Node(name, op, inputs, shape, constants, self.group, self.block))
        return len(self.nodes)

    def conv(self, x: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> int:
        """Without a bias; padded so that stride 1 keeps the size."""
        return self.add(self.conv_op(self.shape(x)[0], out, kernel, stride, groups), x)

    @staticmethod
    def conv_op(
        channels: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1
    ) -> Conv[int]:
        half = kernel // 2
        return Conv(
            in_channels=channels,
            out_channels=out,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(half, half),
            dilation=(1, 1),
            groups=groups,
            bias=False,
            init=Init(),
        )

    def conv_with_bias(self, x: int, out: int, kernel: int = 3) -> int:
        return self.add(replace(self.conv_op(self.shape(x)[0], out, kernel), bias=True), x)

    def norm(self, x: int) -> int:
        return self.add(BatchNorm(self.shape(x)[0], 1e-5, 0.1), x)

    def relu(self, x: int) -> int:
        return self.add(Activation("relu"), x)

    def plus(self, *values: int) -> int:
        return self.add(Add(), *values)

    def max_pool(self, x: int, kernel: int, stride: int, padding: int = 0) -> int:
        return self.add(MaxPool((kernel, kernel), (stride, stride), (padding, padding)), x)

    def global_pool(self, x: int) -> int:
        return self.add(AdaptiveAvgPool((1, 1)), x)

    def flatten(self, x: int) -> int:
        return self.add(Flatten(), x)

    def linear(self, x: int, out: int) -> int:
        return self.add(Linear(self.shape(x)[0], out, True, Init("uniform")), x)

    def conv_norm_relu(self, x: int, out: int, kernel: int = 3, stride: int = 1) -> int:
        return self.relu(self.norm(self.conv(x, out, kernel, stride)))

    def bottleneck(self, x: int, width: int, out: int, stride: int = 1) -> int:
        """1×1, 3×3 (which strides), 1×1; a projection where the shape changes."""
        y = self.conv_norm_relu(x, width, 1)
        y = self.conv_norm_relu(y, width, 3, stride)
        y = self.norm(self.conv(y, out, 1))
        if stride != 1 or self.shape(x)[0] != out:
            x = self.norm(self.conv(x, out, 1, stride))
        return self.relu(self.plus(y, x))

    def basic(self, x: int, out: int, stride: int = 1) -> int:
        """3×3, 3×3; a projection where the shape changes."""
        y = self.conv_norm_relu(x, out, 3, stride)
        y = self.norm(self.conv(y, out))
        if stride != 1 or self.shape(x)[0] != out:
            x = self.norm(self.conv(x, out, 1, stride))
        return self.relu(self.plus(y, x))

    def graph(self, name: str = "hand") -> Graph:
        return Graph(name, "", self.input, tuple(self.nodes), len(self.nodes))


@pytest.fixture
def net() -> Callable[..., Net]:
    """`net(3, 224, 224)` begins a graph."""
    return Net
