"""Stochastic depth.

Topology: conv 3×3, 5 × Dropped, average pool to 1×1, flatten, linear.

Input (N, 3, 16, 16); 12,345 parameters; 6,789,000 multiply-adds an image.

    model = tiny_stochastic(num_classes=10)
    outputs = model(torch.randn(1, 3, 16, 16))

Written by resnet-dsl 1.2.3 from a spec with SHA-256
0000000000000000000000000000000000000000000000000000000000000000.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = [
    "TinyStochastic",
    "TinyStochasticBackbone",
    "tiny_stochastic",
    "tiny_stochastic_backbone",
]


class DropPath(nn.Module):
    """Stochastic depth: in training, whole samples become zero with probability `rate`, and the
    others are scaled by 1 / (1 - rate) (Huang et al. 2016).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3g}"


class Dropped(nn.Module):
    """A layer that is left out at times."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.drop_path = DropPath(number * 0.01)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.drop_path(self.bn1(self.conv1(x)))
        y: Tensor = self.relu(out + x)
        return y


class TinyStochasticTrunk(nn.Module):
    """Stem and stages: (N, 3, 16, 16) to the outputs of the stages."""

    # Channels and stride of every stage's output.
    STAGES: ClassVar[dict[str, tuple[int, int]]] = {"layer1": (8, 1)}

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        # (N, 8, 16, 16)
        self.layer1 = nn.Sequential(*(Dropped(number=number) for number in range(1, 6)))

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
        return outputs


class TinyStochastic(TinyStochasticTrunk):
    """The network: (N, 3, 16, 16) to (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, num_classes)
        self.initialise()

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)["layer1"]
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


class TinyStochasticBackbone(TinyStochasticTrunk):
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


def tiny_stochastic(num_classes: int = 10) -> TinyStochastic:
    """The network with freshly drawn weights."""
    return TinyStochastic(num_classes)


def tiny_stochastic_backbone(stages: Sequence[str] = ("layer1",)) -> TinyStochasticBackbone:
    """The network without its head: see `TinyStochasticBackbone`."""
    return TinyStochasticBackbone(stages)
