"""What images are standardised by, as tensors; measured on the training images where nothing has written it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from resnet_dsl.evaluate.images import HeldSource, open_source, reported
from resnet_dsl.evaluate.normalise import Standard
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.request import DataChoice
from resnet_dsl.runtime.data import ArrayData, hold_out
from resnet_dsl.runtime.data_folder import load_folder
from resnet_dsl.runtime.data_statistics import channel_statistics, mean_image


def tensors_of(standard: Standard, shape: tuple[int, int, int] | None) -> tuple[Tensor, Tensor]:
    """Mean and std for images of `shape` (C, H, W; None: any): () or (C, 1, 1), or a mean of (C, H, W)."""
    if not standard.mean:
        return torch.zeros(()), torch.ones(())
    mean, std = torch.tensor(standard.mean), torch.tensor(standard.std)
    if shape is not None and len(mean) == prod(shape):
        return mean.reshape(shape), std.reshape(-1, 1, 1)
    return mean.reshape(-1, 1, 1), std.reshape(-1, 1, 1)


def measured(
    standard: Standard,
    choice: DataChoice,
    shape: tuple[int, int, int],
    classes: int,
    settings: Mapping[str, object],
) -> tuple[Tensor, Tensor]:
    """Mean and std as the training measures them, on its images. Raises CompileError: RD671 where they are not held in
    memory, RD672 where they cannot be read."""
    training = replace(choice, split="train")
    resize, validation = settings.get("resize"), settings.get("validation")
    data: ArrayData | None = None
    if choice.kind == "folder" and choice.path is not None and settings.get("memory"):
        size = (shape[1], shape[2])
        side = resize if isinstance(resize, int) else None
        with reported():
            data = load_folder(choice.path, "train", channels=shape[0], size=size, resize=side)
    elif choice.kind not in ("folder", "shards"):
        source = open_source(training, shape, classes)
        data = source.data if isinstance(source, HeldSource) else None
    if data is None:
        raise refusal(
            "RD671",
            "it is not known how the images are standardised",
            why="the training measures it on its images as it reads them, and its result.json is not there",
            hint="say it: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 are ImageNet's",
        )
    with reported():
        if isinstance(validation, int) and validation:
            data, _ = hold_out(data, validation, seed=0)
        if standard.measured == "pixel":
            return mean_image(data), torch.ones(())
        return channel_statistics(data)
