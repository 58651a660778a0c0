"""What other projects call the things of the language: a better guess than likeness of letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from resnet_dsl.errors import closest

SYNONYMS: Mapping[str, str] = {
    "act": "activation",
    "bn": "batch",
    "batch_norm": "batch",
    "batchnorm": "batch",
    "bs": "batch_size",
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
    "learning_rate": "lr",
    "lrelu": "leaky_relu",
    "maxpool": "max_pool",
    "normalisation": "norm",
    "normalization": "norm",
    "num_classes": "classes",
    "optimizer": "optimiser",
    "repeats": "depth",
    "stochastic_depth": "drop_path",
    "swish": "silu",
    "wd": "weight_decay",
}


def meant(word: str, candidates: Collection[str]) -> str | None:
    """The candidate that a word means, by meaning and then by likeness; None where there is none."""
    known = SYNONYMS.get(word.casefold().replace("-", "_"))
    return known if known is not None and known in candidates else closest(word, candidates)


def hint_for(word: str, candidates: Collection[str]) -> str | None:
    """A hint, "did you mean `silu`?", or None where no candidate is meant."""
    found = meant(word, candidates)
    return None if found is None else f"did you mean `{found}`?"
