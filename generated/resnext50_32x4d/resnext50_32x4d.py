"""ResNeXt-50, 32 groups of width 4 (Xie et al. 2017, table 1).

Topology: conv 7×7 / 2, batch norm, relu, max pool 3×3 / 2, 3 × Bottleneck, 4 × Bottleneck,
6 × Bottleneck, 3 × Bottleneck, average pool to 1×1, flatten, linear.

Input (N, 3, 224, 224); 25,028,904 parameters; 4,230,479,872 multiply-adds an image.

    model = resnext50_32x4d(num_classes=1000)
    outputs = model(torch.randn(1, 3, 224, 224))

Written by resnet-dsl 0.1.0 from a spec with SHA-256
a6e6beae66b95be007e3351259ea40e999d57952bb56149ba39b7ce1a1865088.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = [
    "Resnext5032x4d",
    "Resnext5032x4dBackbone",
    "resnext50_32x4d",
    "resnext50_32x4d_backbone",
]


class Bottleneck(nn.Module):
    """1×1 reduce, 3×3, 1×1 expand (He et al. 2015, figure 5 right)."""

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, kernel_size=3, stride=stride, padding=1, groups=32, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 2, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 2)
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
    """Identity where shapes agree, a 1×1 projection where they differ (He et al. 2015, equation
    2).
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class Resnext5032x4dTrunk(nn.Module):
    """Stem and stages: (N, 3, 224, 224) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (256, 4),
        "layer2": (512, 8),
        "layer3": (1024, 16),
        "layer4": (2048, 32),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        # (N, 256, 56, 56)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 128, downsample=projection(64, 256)),
            *(Bottleneck(256, 128) for _ in range(2)),
        )
        # (N, 512, 28, 28)
        self.layer2 = nn.Sequential(
            Bottleneck(256, 256, stride=2, downsample=projection(256, 512, stride=2)),
            *(Bottleneck(512, 256) for _ in range(3)),
        )
        # (N, 1024, 14, 14)
        self.layer3 = nn.Sequential(
            Bottleneck(512, 512, stride=2, downsample=projection(512, 1024, stride=2)),
            *(Bottleneck(1024, 512) for _ in range(5)),
        )
        # (N, 2048, 7, 7)
        self.layer4 = nn.Sequential(
            Bottleneck(1024, 1024, stride=2, downsample=projection(1024, 2048, stride=2)),
            *(Bottleneck(2048, 1024) for _ in range(2)),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs["layer1"] = x = self.layer1(x)
        outputs["layer2"] = x = self.layer2(x)
        outputs["layer3"] = x = self.layer3(x)
        outputs["layer4"] = x = self.layer4(x)
        return outputs


class Resnext5032x4d(Resnext5032x4dTrunk):
    """The network: (N, 3, 224, 224) to (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer4"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class Resnext5032x4dBackbone(Resnext5032x4dTrunk):
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


def resnext50_32x4d(num_classes: int = 1000) -> Resnext5032x4d:
    """The network with freshly drawn weights."""
    return Resnext5032x4d(num_classes)


def resnext50_32x4d_backbone(
    stages: Sequence[str] = ("layer2", "layer3", "layer4"),
) -> Resnext5032x4dBackbone:
    """The network without its head: see `Resnext5032x4dBackbone`."""
    return Resnext5032x4dBackbone(stages)
