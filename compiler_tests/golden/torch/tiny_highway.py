"""Gated layers.

Topology: ConvLayer, 4 × Highway, ConvLayer, 4 × Highway, average pool to 1×1, flatten, linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_highway(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["TinyHighway", "TinyHighwayBackbone", "tiny_highway", "tiny_highway_backbone"]


class ConvLayer(nn.Module):
    """A plain layer."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.conv1(x))
        return y


class Highway(nn.Module):
    """A gated layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.gate_conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.conv1(x))
        gate = self.sigmoid(self.gate_conv(x))
        y: Tensor = gate * out + (1 - gate) * x
        return y


class TinyHighwayTrunk(nn.Module):
    """Stem and stages: (N, 3, 16, 16) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (8, 1),
        "layer2": (12, 1),
    }

    def __init__(self) -> None:
        super().__init__()
        # (N, 8, 16, 16)
        self.layer1 = nn.Sequential(
            ConvLayer(3, 8),
            *(Highway(8) for _ in range(4)),
        )
        # (N, 12, 16, 16)
        self.layer2 = nn.Sequential(
            ConvLayer(8, 12),
            *(Highway(12) for _ in range(4)),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Highway):
                nn.init.constant_(module.get_parameter("gate_conv.bias"), -2.0)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        outputs["layer1"] = x = self.layer1(x)
        outputs["layer2"] = x = self.layer2(x)
        return outputs


class TinyHighway(TinyHighwayTrunk):
    """The network: (N, 3, 16, 16) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer2"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class TinyHighwayBackbone(TinyHighwayTrunk):
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


def tiny_highway(num_classes: int = 10) -> TinyHighway:
    """The network with freshly drawn weights."""
    return TinyHighway(num_classes)


def tiny_highway_backbone(stages: Sequence[str] = ("layer1", "layer2")) -> TinyHighwayBackbone:
    """The network without its head: see `TinyHighwayBackbone`."""
    return TinyHighwayBackbone(stages)
