"""Export one network with torch.onnx (dynamo) and print how long the call took, as JSON.

Usage: export.py torchvision:NAME|FILE.py:NAME SIZE OUT.onnx
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path

import torch

from compiler_tests.emitted import import_file


def build(source: str) -> torch.nn.Module:
    """The network that function NAME of a module or a file builds, ready for inference."""
    place, _, name = source.rpartition(":")
    is_file = place.endswith(".py")
    module = import_file(Path(place)) if is_file else importlib.import_module(f"{place}.models")
    network: torch.nn.Module = getattr(module, name)()
    return network.eval()


def main(source: str, size: str, path: str) -> None:
    warnings.simplefilter("ignore")
    network = build(source)
    example = torch.randn(1, 3, int(size), int(size))
    begun = time.perf_counter()
    torch.onnx.export(network, (example,), path, dynamo=True, verbose=False)
    print(json.dumps({"export": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(*sys.argv[1:])
