"""Hand-built graphs: a small builder that works out shapes, constants and names as the compiler would."""

from __future__ import annotations

from resnet_dsl.ir.graph import ConcreteOp, Constant, Graph, Node, Output, Shape, Stored
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


class Builder:
    """Adds nodes one by one; each call returns the number of the new value."""

    def __init__(self, channels: int = 3, height: int = 8, width: int | None = None) -> None:
        self.input: Shape = (channels, height, width or height)
        self.nodes: list[Node] = []
        self.features: list[Output] = []

    def shape(self, value: int) -> Shape:
        return self.nodes[value - 1].shape if value else self.input

    def add(
        self,
        name: str,
        op: ConcreteOp,
        *inputs: int,
        group: str = "",
        block: str = "",
        weights: str | None = None,
    ) -> int:
        """One node; `weights` names the module whose parameters it shares."""
        values = inputs or (len(self.nodes),)
        constants = tuple(
            Constant(
                f"{weights or name}.{item.name}",
                item.shape,
                Stored(f"{weights or name}.{item.name}", item.fill),
                item.trainable,
            )
            for item in parameters(op)
            if item.dtype == "float32"
        )
        shape = infer(op, [self.shape(value) for value in values])
        self.nodes.append(Node(name, op, values, shape, constants, group, block))
        return len(self.nodes)

    def feature(self, name: str, value: int) -> None:
        self.features.append(Output(name, value))

    def graph(self, output: int | None = None, name: str = "test") -> Graph:
        result = len(self.nodes) if output is None else output
        return Graph(
            name, "A test.", self.input, tuple(self.nodes), result, tuple(self.features), "spec"
        )


def conv(
    before: int,
    after: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    bias: bool = False,
    groups: int = 1,
) -> Conv[int]:
    """A square convolution that keeps the size at stride 1."""
    pad = kernel // 2
    return Conv(
        before,
        after,
        (kernel, kernel),
        (stride, stride),
        (pad, pad),
        (1, 1),
        groups,
        bias,
        Init(),
    )


def norm(channels: int) -> BatchNorm[int]:
    return BatchNorm(channels, 1e-5, 0.1)


RELU = Activation("relu")


def residual_net(size: int = 16) -> Graph:
    """A small ImageNet-style net: stem with max pooling, two stages of basic blocks, a projection."""
    width = 8
    build = Builder(3, size)
    build.add("conv1", conv(3, width, 7, 2), group="stem")
    build.add("bn1", norm(width), group="stem")
    build.add("relu", RELU, group="stem")
    build.add("maxpool", MaxPool((3, 3), (2, 2), (1, 1)), group="stem")
    channels = width
    for stage, stride in ((1, 1), (2, 2)):
        out = width * stage
        for block in range(2):
            path, group = f"layer{stage}.{block}", f"layer{stage}"
            entry = len(build.nodes)
            step = stride if block == 0 else 1
            build.add(f"{path}.conv1", conv(channels, out, 3, step), entry, group=group)
            build.add(f"{path}.bn1", norm(out), group=group)
            build.add(f"{path}.relu1", RELU, group=group)
            build.add(f"{path}.conv2", conv(out, out), group=group)
            main = build.add(f"{path}.bn2", norm(out), group=group)
            if channels != out:
                build.add(f"{path}.downsample.0", conv(channels, out, 1, step), entry, group=group)
                entry = build.add(f"{path}.downsample.1", norm(out), group=group)
            build.add(f"{path}.add", Add(), main, entry, group=group)
            build.add(f"{path}.relu", RELU, group=group)
            channels = out
        build.feature(f"layer{stage}", len(build.nodes))
    build.add("avgpool", AdaptiveAvgPool((1, 1)), group="head")
    build.add("flatten", Flatten(), group="head")
    build.add("fc", Linear(channels, 5, True, Init("normal")), group="head")
    return build.graph(name="small")
