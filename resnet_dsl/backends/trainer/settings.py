"""What a training script is made from: every value of a spec's `train` section, and the names around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Data: TypeAlias = Literal["digits", "fake"]
Optimiser: TypeAlias = Literal["sgd", "adamw"]
Schedule: TypeAlias = Literal["cosine", "milestones", "constant"]
Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """`from {name} import {name}` in the script is the network, called as `{name}(num_classes={classes})`.

    `spec` is what the user calls it by (a name or a path), for the command that the script prints at its end, with the
    `overrides` that it was given and the `folder` that it wrote to. `input` is (C, H, W).
    `epochs`, `milestones` and `warmup_epochs` count epochs, `shift` pixels.
    `momentum` is AdamW's first beta too. `normalisation` is a mean and a deviation for each channel; without it they
    are measured on the training images. `threads` are torch's on a CPU; without it torch chooses.
    """

    name: str
    spec: str
    spec_hash: str
    version: str
    input: tuple[int, int, int]
    classes: int

    data: Data
    epochs: int
    batch_size: int
    optimiser: Optimiser
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_norms: bool
    schedule: Schedule
    milestones: tuple[int, ...]
    gamma: float
    warmup_epochs: int
    label_smoothing: float
    shift: int
    seed: int
    overrides: tuple[str, ...] = ()
    folder: str | None = None
    normalisation: Statistics | None = None
    threads: int | None = None
    bf16: bool = False
