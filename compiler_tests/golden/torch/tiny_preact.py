"""Pre-activation.

Topology: conv 3×3, batch norm, relu, 3 × Preact, 3 × Preact, average pool to 1×1, flatten,
linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_preact(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["TinyPreact", "TinyPreactBackbone", "tiny_preact", "tiny_preact_backbone"]


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A 1×1 projection where shapes differ."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class Preact(nn.Module):
    """Identity mappings."""

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(
            in_channels, width, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.downsample = projection(in_channels, width, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(x))
        out = self.relu(self.bn2(self.conv1(x)))
        out = self.conv2(out)
        y: Tensor = out + self.downsample(x)
        return y


class TinyPreactTrunk(nn.Module):
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
        self.layer1 = nn.Sequential(*(Preact(8, 8) for _ in range(3)))
        # (N, 16, 8, 8)
        self.layer2 = nn.Sequential(
            Preact(8, 16, stride=2),
            *(Preact(16, 16) for _ in range(2)),
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


class TinyPreact(TinyPreactTrunk):
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


class TinyPreactBackbone(TinyPreactTrunk):
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


def tiny_preact(num_classes: int = 10) -> TinyPreact:
    """The network with freshly drawn weights."""
    return TinyPreact(num_classes)


def tiny_preact_backbone(stages: Sequence[str] = ("layer1", "layer2")) -> TinyPreactBackbone:
    """The network without its head: see `TinyPreactBackbone`."""
    return TinyPreactBackbone(stages)
