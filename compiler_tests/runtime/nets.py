"""Small residual nets to train in a moment, by hand: what emitted ones are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3×3 convolutions and their shortcut, with dropout between them."""

    def __init__(self, width: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        inner = width // stride
        self.conv1 = nn.Conv2d(inner, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inner, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.dropout(self.relu(self.bn1(self.conv1(x))))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(out + identity)
        return y


class Net(nn.Module):
    """A residual net of two stages for images (N, 3, H, W) and four classes."""

    def __init__(self, depth: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(*(Block(8, dropout=dropout) for _ in range(depth)))
        self.layer2 = nn.Sequential(
            Block(16, stride=2, dropout=dropout),
            *(Block(16, dropout=dropout) for _ in range(depth - 1)),
        )
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


def net(seed: int = 0, depth: int = 2, dropout: float = 0.0) -> Net:
    torch.manual_seed(seed)
    return Net(depth, dropout)


def batch(count: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 8, 8) and labels (count,), always the same ones."""
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 8, 8, dtype=dtype, generator=draws)
    return images, torch.randint(4, (count,), generator=draws)
