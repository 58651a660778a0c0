"""Bottlenecks and projections.

Topology: conv 3×3, batch norm, relu, 3 × Bottleneck, 3 × Bottleneck, average pool to 1×1,
flatten, linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_bottleneck(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = [
    "TinyBottleneck",
    "TinyBottleneckBackbone",
    "tiny_bottleneck",
    "tiny_bottleneck_backbone",
]


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1."""

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(out + identity)
        return y


def projection(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """A 1×1 projection where shapes differ."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class TinyBottleneckTrunk(nn.Module):
    """Stem and stages: (N, 3, 16, 16) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (32, 1),
        "layer2": (64, 2),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        # (N, 32, 16, 16)
        self.layer1 = nn.Sequential(
            Bottleneck(8, 8, downsample=projection(8, 32)),
            *(Bottleneck(32, 8) for _ in range(2)),
        )
        # (N, 64, 8, 8)
        self.layer2 = nn.Sequential(
            Bottleneck(32, 16, stride=2, downsample=projection(32, 64, stride=2)),
            *(Bottleneck(64, 16) for _ in range(2)),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        x = self.relu(self.bn1(self.conv1(x)))
        outputs["layer1"] = x = self.layer1(x)
        outputs["layer2"] = x = self.layer2(x)
        return outputs


class TinyBottleneck(TinyBottleneckTrunk):
    """The network: (N, 3, 16, 16) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer2"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class TinyBottleneckBackbone(TinyBottleneckTrunk):
    """The outputs of the stages asked for, by name.

    `channels` and `strides` say what each has, in the order of `stages`. The weights are named as
    the network's, so that `load_state_dict(checkpoint, strict=False)` takes those of a classifier.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        super().__init__()
        if isinstance(stages, str):
            raise TypeError(f"stages is a sequence of names, such as {(stages,)}")
        unknown = [stage for stage in stages if stage not in self.STAGES]
        if unknown or not stages:
            wrong = f"no stages {unknown}" if unknown else "no stage is asked for"
            raise ValueError(f"{wrong}: choose from {list(self.STAGES)}")
        self.stages = tuple(stages)
        self.channels = tuple(self.STAGES[stage][0] for stage in stages)
        self.strides = tuple(self.STAGES[stage][1] for stage in stages)
        self.initialise()
        known = list(self.STAGES)
        for stage in known[max(map(known.index, stages)) + 1 :]:
            setattr(self, stage, nn.Identity())  # nothing reads it

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.forward_features(x)
        return {stage: outputs[stage] for stage in self.stages}


def tiny_bottleneck(num_classes: int = 10) -> TinyBottleneck:
    """The network with freshly drawn weights."""
    return TinyBottleneck(num_classes)


def tiny_bottleneck_backbone(
    stages: Sequence[str] = ("layer1", "layer2"),
) -> TinyBottleneckBackbone:
    """The network without its head: see `TinyBottleneckBackbone`."""
    return TinyBottleneckBackbone(stages)
