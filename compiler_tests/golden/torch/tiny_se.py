"""Squeeze and excitation.

Topology: conv 3×3, batch norm, relu, 3 × SeBasic, 3 × SeBasic, average pool to 1×1, flatten,
linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_se(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["TinySe", "TinySeBackbone", "tiny_se", "tiny_se_backbone"]


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole image says of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, 4, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(4, channels, kernel_size=1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc1(self.avgpool(x))
        scale = self.fc2(self.relu(scale))
        y: Tensor = x * self.sigmoid(scale)
        return y


class SeBasic(nn.Module):
    """Conv 3×3 / stride, batch norm, relu, conv 3×3, batch norm, SqueezeExcite, add, relu."""

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, width, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.se = SqueezeExcite(width)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.se(out)
        identity = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(out + identity)
        return y


def projection() -> nn.Sequential:
    """A 1×1 projection where shapes differ."""
    return nn.Sequential(
        nn.Conv2d(8, 16, kernel_size=1, stride=2, bias=False),
        nn.BatchNorm2d(16),
    )


class TinySeTrunk(nn.Module):
    """Stem and stages: (N, 3, 16, 16) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (8, 1),
        "layer2": (16, 2),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        # (N, 8, 16, 16)
        self.layer1 = nn.Sequential(*(SeBasic(8, 8) for _ in range(3)))
        # (N, 16, 8, 8)
        self.layer2 = nn.Sequential(
            SeBasic(8, 16, stride=2, downsample=projection()),
            *(SeBasic(16, 16) for _ in range(2)),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, SeBasic):
                nn.init.zeros_(module.bn2.weight)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        x = self.relu(self.bn1(self.conv1(x)))
        outputs["layer1"] = x = self.layer1(x)
        outputs["layer2"] = x = self.layer2(x)
        return outputs


class TinySe(TinySeTrunk):
    """The network: (N, 3, 16, 16) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer2"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class TinySeBackbone(TinySeTrunk):
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


def tiny_se(num_classes: int = 10) -> TinySe:
    """The network with freshly drawn weights."""
    return TinySe(num_classes)


def tiny_se_backbone(stages: Sequence[str] = ("layer1", "layer2")) -> TinySeBackbone:
    """The network without its head: see `TinySeBackbone`."""
    return TinySeBackbone(stages)
