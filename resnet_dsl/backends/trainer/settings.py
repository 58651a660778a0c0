"""What a training script is made from: every value of a spec's `train` section, and the names around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Data: TypeAlias = Literal["digits", "cifar10", "cifar100", "folder", "shards", "fake"]
Normalise: TypeAlias = Literal["channel", "pixel", "none"]
PadMode: TypeAlias = Literal["black", "reflect"]
Flip: TypeAlias = Literal["none", "random", "alternate"]
Crop: TypeAlias = Literal["none", "scale", "area"]
AutoAugment: TypeAlias = Literal["none", "trivial", "rand"]
Optimiser: TypeAlias = Literal["sgd", "adamw", "lamb"]
Loss: TypeAlias = Literal["cross_entropy", "bce"]
Schedule: TypeAlias = Literal["cosine", "linear", "milestones", "plateau", "constant"]
Precision: TypeAlias = Literal["fp32", "bf16", "auto"]
Compile: TypeAlias = Literal["never", "cuda", "always"]
Parallel: TypeAlias = Literal["ddp", "fsdp"]
Part: TypeAlias = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """`from {name} import {name}` in the script is the network, called as `{name}(num_classes={classes})`.

    `spec` is what the user calls it by (a name or a path), for the command that the script prints at its end, with the
    `overrides` that it was given and the `folder` that it wrote to. `input` is (C, H, W). `parts` are `stem`, the
    stages and `head`, each with the paths of its modules that have parameters: ("stem", ("conv1", "bn1")).
    What each setting means, and its unit, is told in docs/language.md, and in the library's `base` recipe.
    """

    name: str
    spec: str
    overrides: tuple[str, ...] = ()
    folder: str | None = None
    spec_hash: str
    version: str
    input: tuple[int, int, int]
    classes: int
    parts: tuple[Part, ...] = ()

    data: Data
    path: str | None
    download: bool
    validation: int
    memory: bool
    resize: int | None
    train_size: int | None
    workers: int | None
    normalise: Normalise
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    pad: int
    pad_mode: PadMode
    flip: Flip
    cutout: int
    crop: Crop
    scale_range: tuple[int, int]
    area_range: tuple[float, float]
    ratio_range: tuple[float, float]
    colour_pca: float
    auto_augment: AutoAugment
    rand_ops: int
    rand_magnitude: float
    rand_std: float
    erasing: float
    mixup: float
    cutmix: float
    repeats: int

    batch_size: int
    accumulate: int
    epochs: int | None
    iterations: int | None
    optimiser: Optimiser
    lr: float
    lr_batch: int | None
    momentum: float
    beta2: float
    nesterov: bool
    weight_decay: float
    decay_norms: bool
    clip: float
    loss: Loss
    label_smoothing: float
    schedule: Schedule
    milestones: tuple[int, ...]
    gamma: float
    patience: int
    warmup: int
    warmup_lr: float
    warmup_error: float | None
    ema: float
    ema_every: int
    freeze: tuple[str, ...]
    loss_limit: float

    seed: int
    threads: int | None
    precision: Precision
    compile: Compile
    parallel: Parallel
    sync_batchnorm: bool
    recompute: tuple[str, ...]
    save_minutes: float

    test_flip: bool

    @property
    def scaled_lr(self) -> float:
        """The learning rate for `batch_size`, where `lr` is meant for a batch of `lr_batch` (Goyal et al. 2017)."""
        return self.lr * self._scale

    @property
    def scaled_warmup_lr(self) -> float:
        """`warmup_lr`, which is meant for the same batch as `lr`."""
        return self.warmup_lr * self._scale

    @property
    def frozen(self) -> tuple[str, ...]:
        """The paths of the modules whose parameters stay as they are."""
        return tuple(
            module for part, modules in self.parts if part in self.freeze for module in modules
        )

    @property
    def _scale(self) -> float:
        return 1.0 if self.lr_batch is None else self.batch_size / self.lr_batch
