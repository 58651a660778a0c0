"""A way to write graphs by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler_tests.graphs import RELU, Builder, conv, norm
from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.ops import AdaptiveAvgPool, Add, Flatten, Init, Linear, MaxPool


class Net(Builder):
    """Adds nodes to the group and block of the moment; each method returns the number of its result."""

    group = ""
    block = ""

    def put(self, op: ConcreteOp, *inputs: int) -> int:
        """A node with a name of its own."""
        name = f"n{len(self.nodes)}"
        return self.add(name, op, *inputs, group=self.group, block=self.block)

    def conv(self, x: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> int:
        """Without a bias; padded so that stride 1 keeps the size."""
        return self.put(conv(self.shape(x)[0], out, kernel, stride, groups=groups), x)

    def conv_with_bias(self, x: int, out: int, kernel: int = 3) -> int:
        return self.put(conv(self.shape(x)[0], out, kernel, bias=True), x)

    def norm(self, x: int) -> int:
        return self.put(norm(self.shape(x)[0]), x)

    def relu(self, x: int) -> int:
        return self.put(RELU, x)

    def plus(self, *values: int) -> int:
        return self.put(Add(), *values)

    def max_pool(self, x: int, kernel: int, stride: int, padding: int = 0) -> int:
        return self.put(MaxPool((kernel, kernel), (stride, stride), (padding, padding)), x)

    def global_pool(self, x: int) -> int:
        return self.put(AdaptiveAvgPool((1, 1)), x)

    def flatten(self, x: int) -> int:
        return self.put(Flatten(), x)

    def linear(self, x: int, out: int) -> int:
        return self.put(Linear(self.shape(x)[0], out, True, Init("uniform")), x)

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


@pytest.fixture
def net() -> Callable[..., Net]:
    """`net(3, 224, 224)` begins a graph."""
    return Net
