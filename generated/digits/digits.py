"""A residual net of 8 layers for 8×8 grey digits, small enough to train in a minute on a laptop.

Topology: conv 3×3, batch norm, relu, BasicBlock, BasicBlock, BasicBlock, average pool to 1×1,
flatten, linear.

Input (N, 1, 8, 8); 77,754 parameters; 763,520 multiply-adds an image.

    model = digits(num_classes=10)
    outputs = model(torch.randn(1, 1, 8, 8))

Written by resnet-dsl 0.1.0 from a spec with SHA-256
c403c0d507153fb74d1ff6436c7d6f02354a1a3ee2cd43d67737bea2fb7cff5b.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Digits", "DigitsBackbone", "digits", "digits_backbone"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions (He et al. 2015, figure 5 left)."""

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
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(out + identity)
        return y


def projection(in_channels: int, out_channels: int) -> nn.Sequential:
    """Identity where shapes agree, a 1×1 projection where they differ (He et al. 2015, equation
    2).
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class DigitsTrunk(nn.Module):
    """Stem and stages: (N, 1, 8, 8) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (16, 1),
        "layer2": (32, 2),
        "layer3": (64, 4),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        # (N, 16, 8, 8)
        self.layer1 = nn.Sequential(BasicBlock(16, 16))
        # (N, 32, 4, 4)
        self.layer2 = nn.Sequential(BasicBlock(16, 32, stride=2, downsample=projection(16, 32)))
        # (N, 64, 2, 2)
        self.layer3 = nn.Sequential(BasicBlock(32, 64, stride=2, downsample=projection(32, 64)))

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
        outputs["layer3"] = x = self.layer3(x)
        return outputs


class Digits(DigitsTrunk):
    """The network: (N, 1, 8, 8) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer3"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class DigitsBackbone(DigitsTrunk):
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


def digits(num_classes: int = 10) -> Digits:
    """The network with freshly drawn weights."""
    return Digits(num_classes)


def digits_backbone(stages: Sequence[str] = ("layer1", "layer2", "layer3")) -> DigitsBackbone:
    """The network without its head: see `DigitsBackbone`."""
    return DigitsBackbone(stages)
