"""A flat trunk.

Topology: conv_layer, conv_layer_last, 3 × conv_layer, conv_layer_last, flatten, linear, relu,
dropout, linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_vgg(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["TinyVgg", "TinyVggBackbone", "tiny_vgg", "tiny_vgg_backbone"]


def conv_layer(in_channels: int, width: int) -> list[nn.Module]:
    """A layer."""
    return [
        nn.Conv2d(in_channels, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    ]


def conv_layer_last(width: int) -> list[nn.Module]:
    """The last layer of a stage."""
    return [
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=2),
    ]


class TinyVggTrunk(nn.Module):
    """Stem and stages: (N, 3, 16, 16) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "stage1": (8, 2),
        "stage2": (16, 4),
    }

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # stage1: (N, 8, 8, 8)
            *conv_layer(3, 8),
            *conv_layer_last(8),
            # stage2: (N, 16, 4, 4)
            *conv_layer(8, 16),
            *(layer for _ in range(2) for layer in conv_layer(16, 16)),
            *conv_layer_last(16),
        )

    def initialise(self) -> None:
        """Draw the weights as the spec asks; what is not mentioned is torch's default."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of the stages, by name: (N, channels, H / stride, W / stride)."""
        outputs: dict[str, Tensor] = {}
        outputs["stage1"] = x = self.features[:5](x)
        outputs["stage2"] = x = self.features[5:](x)
        return outputs


class TinyVgg(TinyVggTrunk):
    """The network: (N, 3, 16, 16) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Linear(256, 32),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(32, num_classes),
        )
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["stage2"]
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


class TinyVggBackbone(TinyVggTrunk):
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
        ends = {"stage1": 5, "stage2": 14}
        del self.features[max(ends[stage] for stage in stages) :]  # nothing reads it

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.forward_features(x)
        return {stage: outputs[stage] for stage in self.stages}


def tiny_vgg(num_classes: int = 10) -> TinyVgg:
    """The network with freshly drawn weights."""
    return TinyVgg(num_classes)


def tiny_vgg_backbone(stages: Sequence[str] = ("stage1", "stage2")) -> TinyVggBackbone:
    """The network without its head: see `TinyVggBackbone`."""
    return TinyVggBackbone(stages)
