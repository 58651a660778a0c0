"""A network as a torch module: the emitted one, or torchvision's of the same structure."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.runner import images

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def settle(load: Load) -> None:
    """Threads, numbers too small to matter as zeros (which are slow on a processor), and what fp32 means."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(load.threads)
    torch.set_num_interop_threads(1)
    if load.device == "cuda":
        torch.backends.cudnn.benchmark = True
        rounded = "tf32" if load.precision == "tf32" else "ieee"
        torch.backends.cudnn.conv.fp32_precision = rounded  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = rounded


def network(load: Load) -> nn.Module:
    """The network on its device, in its type, in evaluation mode."""
    assert load.weights is not None
    made = _emitted(Path(load.file)) if load.file is not None else _torchvision(load.name)
    state = load_file(load.weights)
    made.load_state_dict(state, strict=True)
    made.eval().requires_grad_(False)
    made.to(load.device, DTYPES[load.precision])
    return made


def image_tensor(load: Load, batch: int) -> Tensor:
    """The noise of `images`, where and in what type the network wants it."""
    return torch.from_numpy(images(batch, load.shape)).to(load.device, DTYPES[load.precision])


def _emitted(source: Path) -> nn.Module:
    """The network of a file whose factory is named as the file."""
    spec = spec_from_file_location(source.stem, source)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[source.stem] = module  # who compiles it looks there for its source
    spec.loader.exec_module(module)
    made: nn.Module = getattr(module, source.stem)()
    return made


def _torchvision(name: str) -> nn.Module:
    made: nn.Module = getattr(import_module("torchvision.models"), name)()
    return made
