"""What is done to a network before it is trained: weights to begin from, parts that stay as they are."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_dsl.runtime.checkpoints import from_safetensors
from resnet_dsl.runtime.evaluation import Score


class WeightsError(Exception):
    """The weights are not of this network. Its text says why, for the user."""


def begin_from(model: nn.Module, path: Path) -> str:
    """Gives a network the weights of a safetensors file, and says what was left out: a last layer
    for another number of classes keeps its random weights. Raises WeightsError."""
    try:
        weights = from_safetensors(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        what = f"has no {missing[0]}" if missing else f"has {extra[0]}, which the network has not"
        raise WeightsError(f"{path} is of another network: it {what}")
    other = [name for name, value in weights.items() if value.shape != own[name].shape]
    last = list(own)[-1].rpartition(".")[0]
    for name in other:
        if name.rpartition(".")[0] != last:
            shapes = f"{tuple(weights[name].shape)} in it and {tuple(own[name].shape)} here"
            raise WeightsError(f"{path} is of another network: {name} is {shapes}")
    model.load_state_dict({**weights, **{name: own[name] for name in other}})
    if not other:
        return f"begins from {path}"
    shape = tuple(weights[other[0]].shape)
    return f"begins from {path}; `{last}` is new, since that of the file is for {shape[0]} classes"


def freeze(model: nn.Module, names: Iterable[str]) -> None:
    """Parts of a network that stay as they are: their parameters, and the statistics of their batch
    normalisation."""
    for name in names:
        part = model.get_submodule(name)
        part.eval()
        for parameter in part.parameters():
            parameter.requires_grad_(False)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself, faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def in_bfloat16(forward: Score, device: torch.device) -> Score:
    """A network that multiplies bfloat16, and gives scores of float32."""

    def run(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            scores = forward(images)
        return scores.float()

    return run


def keep_memory() -> None:
    """Has Linux's allocator keep what a step of training has freed for the next one, rather than give
    it back and fetch it anew, page by page."""
    if sys.platform != "linux":
        return
    try:
        allocator = ctypes.CDLL(None)
        allocator.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD, in bytes
        allocator.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: the largest that there is
    except (OSError, AttributeError):  # another library than glibc
        return
