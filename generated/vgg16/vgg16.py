"""VGG-16, without normalisation (Simonyan & Zisserman 2015, table 1).

Topology: conv_layer, conv_layer_last, conv_layer, conv_layer_last, 2 × conv_layer,
conv_layer_last, 2 × conv_layer, conv_layer_last, 2 × conv_layer, conv_layer_last,
average pool to 7×7, flatten, linear, relu, dropout, linear, relu, dropout, linear.

Input (N, 3, 224, 224); 138,357,544 parameters; 15,470,264,320 multiply-adds an image.

    model = vgg16(num_classes=1000)
    outputs = model(torch.randn(1, 3, 224, 224))

Written by resnet-dsl 0.1.0 from a spec with SHA-256
338c350094ad99b18e6272f7b0cff7b238c6425c5739c216d255247bf3b55562.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Vgg16", "Vgg16Backbone", "vgg16", "vgg16_backbone"]


def conv_layer(in_channels: int, width: int) -> list[nn.Module]:
    """One 3×3 convolution, and a 2×2 max pooling after the last of a stage (Simonyan & Zisserman
    2015, table 1).
    """
    return [
        nn.Conv2d(in_channels, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
    ]


def conv_layer_last(width: int) -> list[nn.Module]:
    """One 3×3 convolution, and a 2×2 max pooling after the last of a stage (Simonyan & Zisserman
    2015, table 1).
    """
    return [
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=2),
    ]


class Vgg16Trunk(nn.Module):
    """Stem and stages: (N, 3, 224, 224) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {
        "layer1": (64, 2),
        "layer2": (128, 4),
        "layer3": (256, 8),
        "layer4": (512, 16),
        "layer5": (512, 32),
    }

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # layer1: (N, 64, 112, 112)
            *conv_layer(3, 64),
            *conv_layer_last(64),
            # layer2: (N, 128, 56, 56)
            *conv_layer(64, 128),
            *conv_layer_last(128),
            # layer3: (N, 256, 28, 28)
            *conv_layer(128, 256),
            *conv_layer(256, 256),
            *conv_layer_last(256),
            # layer4: (N, 512, 14, 14)
            *conv_layer(256, 512),
            *conv_layer(512, 512),
            *conv_layer_last(512),
            # layer5: (N, 512, 7, 7)
            *(layer for _ in range(2) for layer in conv_layer(512, 512)),
            *conv_layer_last(512),
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
        outputs["layer1"] = x = self.features[:5](x)
        outputs["layer2"] = x = self.features[5:10](x)
        outputs["layer3"] = x = self.features[10:17](x)
        outputs["layer4"] = x = self.features[17:24](x)
        outputs["layer5"] = x = self.features[24:](x)
        return outputs


class Vgg16(Vgg16Trunk):
    """The network: (N, 3, 224, 224) to (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(25088, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer5"]
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(x), 1))
        return logits


class Vgg16Backbone(Vgg16Trunk):
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
        ends = {"layer1": 5, "layer2": 10, "layer3": 17, "layer4": 24, "layer5": 31}
        del self.features[max(ends[stage] for stage in stages) :]  # nothing reads it

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.forward_features(x)
        return {stage: outputs[stage] for stage in self.stages}


def vgg16(num_classes: int = 1000) -> Vgg16:
    """The network with freshly drawn weights."""
    return Vgg16(num_classes)


def vgg16_backbone(stages: Sequence[str] = ("layer3", "layer4", "layer5")) -> Vgg16Backbone:
    """The network without its head: see `Vgg16Backbone`."""
    return Vgg16Backbone(stages)
