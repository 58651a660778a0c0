"""What other projects call the things of the language: a better guess than likeness of letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from resnet_dsl.errors import closest

_NETWORK: Mapping[str, str] = {
    "act": "activation",
    "bn": "batch",
    "batch_norm": "batch",
    "batchnorm": "batch",
    "conv2d": "conv",
    "dense": "linear",
    "fc": "linear",
    "filters": "width",
    "gn": "group",
    "group_norm": "group",
    "hard_swish": "hardswish",
    "initialisation": "init",
    "initialization": "init",
    "leaky": "leaky_relu",
    "lrelu": "leaky_relu",
    "maxpool": "max_pool",
    "normalisation": "norm",
    "normalization": "norm",
    "num_classes": "classes",
    "repeats": "depth",
    "stochastic_depth": "drop_path",
    "swish": "silu",
}

_TRAINING: Mapping[str, str] = {
    "accumulation_steps": "accumulate",
    "amp": "precision",
    "augmentation": "auto_augment",
    "base_lr": "lr",
    "bf16": "precision",
    "bs": "batch_size",
    "clip_grad": "clip",
    "criterion": "loss",
    "data_dir": "path",
    "data_path": "path",
    "dataset": "data",
    "dtype": "precision",
    "fsdp": "parallel",
    "grad_clip": "clip",
    "gradient_accumulation": "accumulate",
    "gradient_checkpointing": "recompute",
    "checkpointing": "recompute",
    "half": "precision",
    "hflip": "flip",
    "horizontal_flip": "flip",
    "image_size": "train_size",
    "learning_rate": "lr",
    "lighting": "colour_pca",
    "lr_decay": "gamma",
    "lr_scheduler": "schedule",
    "lr_steps": "milestones",
    "max_norm": "clip",
    "max_steps": "iterations",
    "mixed_precision": "precision",
    "num_epochs": "epochs",
    "num_workers": "workers",
    "optimizer": "optimiser",
    "padding": "pad",
    "random_crop": "pad",
    "random_erasing": "erasing",
    "random_resized_crop": "crop",
    "repeated_augmentation": "repeats",
    "root": "path",
    "scheduler": "schedule",
    "shift": "pad",
    "smoothing": "label_smoothing",
    "steps": "iterations",
    "strategy": "parallel",
    "sync_bn": "sync_batchnorm",
    "syncbn": "sync_batchnorm",
    "torch_compile": "compile",
    "tta": "test_flip",
    "val_split": "validation",
    "warmup_epochs": "warmup",
    "warmup_steps": "warmup",
    "wd": "weight_decay",
}

_CHOICES: Mapping[str, str] = {
    "adam": "adamw",
    "bfloat16": "bf16",
    "binary_cross_entropy": "bce",
    "ce": "cross_entropy",
    "cross_entropy_loss": "cross_entropy",
    "fp16": "bf16",
    "float16": "bf16",
    "float32": "fp32",
    "imagefolder": "folder",
    "imagenet": "folder",
    "multistep": "milestones",
    "per_channel": "channel",
    "per_pixel": "pixel",
    "randaugment": "rand",
    "reduce_on_plateau": "plateau",
    "step": "milestones",
    "synthetic": "fake",
    "trivialaugment": "trivial",
    "webdataset": "shards",
    "zeros": "black",
}

SYNONYMS: Mapping[str, str] = {**_NETWORK, **_TRAINING, **_CHOICES}


def meant(word: str, candidates: Collection[str]) -> str | None:
    """The candidate that a word means, by meaning and then by likeness; None where there is none."""
    known = SYNONYMS.get(word.casefold().replace("-", "_"))
    return known if known is not None and known in candidates else closest(word, candidates)


def hint_for(word: str, candidates: Collection[str]) -> str | None:
    """A hint, "did you mean `silu`?", or None where no candidate is meant."""
    found = meant(word, candidates)
    return None if found is None else f"did you mean `{found}`?"
