"""CIFAR ResNet-20, option A (He et al. 2015, section 4.2).

Topology: conv 3×3, batch norm, relu, 3 × BasicBlock, 3 × BasicBlock, 3 × BasicBlock,
average pool to 1×1, flatten, linear.

Input (N, 3, 32, 32); 269,722 parameters; 40,551,040 multiply-adds an image.

    model = resnet20(num_classes=10)
    outputs = model(torch.randn(1, 3, 32, 32))

Written by resnet-dsl 0.1.0 from a spec with SHA-256
f960184dd1aa38e20c5eb8608c212345b53d15a4cd3bc92b408e1066a52cff6e.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Resnet20", "Resnet20Backbone", "resnet20", "resnet20_backbone"]


class PadChannels(nn.Module):
    """Zero channels on both sides: (N, in_channels, H, W) to (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"before={self.before}, after={self.after}"


class Subsample(nn.Module):
    """Every `stride`-th row and column of (N, C, H, W)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride]

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


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


def pad_shortcut(in_channels: int, out_channels: int) -> nn.Sequential:
    """Identity, subsampled and padded with zero channels where shapes differ (He et al. 2015,
    section 3.3).
    """
    return nn.Sequential(
        Subsample(2),
        PadChannels(in_channels, out_channels),
    )


class Resnet20Trunk(nn.Module):
    """Stem and stages: (N, 3, 32, 32) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (16, 1),
        "layer2": (32, 2),
        "layer3": (64, 4),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        # (N, 16, 32, 32)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16) for _ in range(3)))
        # (N, 32, 16, 16)
        self.layer2 = nn.Sequential(
            BasicBlock(16, 32, stride=2, downsample=pad_shortcut(16, 32)),
            *(BasicBlock(32, 32) for _ in range(2)),
        )
        # (N, 64, 8, 8)
        self.layer3 = nn.Sequential(
            BasicBlock(32, 64, stride=2, downsample=pad_shortcut(32, 64)),
            *(BasicBlock(64, 64) for _ in range(2)),
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
        outputs["layer3"] = x = self.layer3(x)
        return outputs


class Resnet20(Resnet20Trunk):
    """The network: (N, 3, 32, 32) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer3"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class Resnet20Backbone(Resnet20Trunk):
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


def resnet20(num_classes: int = 10) -> Resnet20:
    """The network with freshly drawn weights."""
    return Resnet20(num_classes)


def resnet20_backbone(stages: Sequence[str] = ("layer1", "layer2", "layer3")) -> Resnet20Backbone:
    """The network without its head: see `Resnet20Backbone`."""
    return Resnet20Backbone(stages)
