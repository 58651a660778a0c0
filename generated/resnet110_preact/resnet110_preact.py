"""Pre-activation CIFAR ResNet-110 (He et al. 2016, "Identity Mappings", table 3).

Topology: conv 3×3, 18 × PreactBasic, PreactBasicTransition, 17 × PreactBasic,
PreactBasicTransition, 17 × PreactBasic, batch norm, relu, average pool to 1×1, flatten, linear.

Input (N, 3, 32, 32); 1,730,522 parameters; 253,149,824 multiply-adds an image.

    model = resnet110_preact(num_classes=10)
    outputs = model(torch.randn(1, 3, 32, 32))

Written by resnet-dsl 0.1.0 from a spec with SHA-256
287e4fc2debfa99f13984b2baae4d51999b686842ea92b9463877b26fafdf920.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = [
    "Resnet110Preact",
    "Resnet110PreactBackbone",
    "resnet110_preact",
    "resnet110_preact_backbone",
]


class PreactBasic(nn.Module):
    """Two 3×3 convolutions, each after its normalisation and activation (He et al. 2016, "Identity
    Mappings", figure 4e).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.relu(self.bn1(x)))
        out = self.conv2(self.relu(self.bn2(out)))
        y: Tensor = out + x
        return y


class PreactBasicTransition(nn.Module):
    """Two 3×3 convolutions, each after its normalisation and activation (He et al. 2016, "Identity
    Mappings", figure 4e).
    """

    def __init__(self, in_channels: int, width: int, downsample: nn.Module) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(x))
        out = self.relu(self.bn2(self.conv1(x)))
        out = self.conv2(out)
        y: Tensor = out + self.downsample(x)
        return y


def projection(in_channels: int, out_channels: int) -> nn.Sequential:
    """Identity where shapes agree, a 1×1 projection where they differ (He et al. 2015, equation
    2).
    """
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False))


class Resnet110PreactTrunk(nn.Module):
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
        # (N, 16, 32, 32)
        self.layer1 = nn.Sequential(*(PreactBasic(16) for _ in range(18)))
        # (N, 32, 16, 16)
        self.layer2 = nn.Sequential(
            PreactBasicTransition(16, 32, downsample=projection(16, 32)),
            *(PreactBasic(32) for _ in range(17)),
        )
        # (N, 64, 8, 8)
        self.layer3 = nn.Sequential(
            PreactBasicTransition(32, 64, downsample=projection(32, 64)),
            *(PreactBasic(64) for _ in range(17)),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        x = self.conv1(x)
        outputs["layer1"] = x = self.layer1(x)
        outputs["layer2"] = x = self.layer2(x)
        outputs["layer3"] = x = self.layer3(x)
        return outputs


class Resnet110Preact(Resnet110PreactTrunk):
    """The network: (N, 3, 32, 32) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer3"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(self.relu(self.bn1(x))), 1))
        return logits


class Resnet110PreactBackbone(Resnet110PreactTrunk):
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


def resnet110_preact(num_classes: int = 10) -> Resnet110Preact:
    """The network with freshly drawn weights."""
    return Resnet110Preact(num_classes)


def resnet110_preact_backbone(
    stages: Sequence[str] = ("layer1", "layer2", "layer3"),
) -> Resnet110PreactBackbone:
    """The network without its head: see `Resnet110PreactBackbone`."""
    return Resnet110PreactBackbone(stages)
