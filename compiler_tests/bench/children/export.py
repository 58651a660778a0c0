"""Export one network with torch.onnx (dynamo) and print how long the call took, as JSON.

Usage: export.py torchvision:NAME|FILE.py:NAME SIZE OUT.onnx
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
import warnings

import torch


def build(source: str) -> torch.nn.Module:
    """The network that function NAME of a module or a file builds, ready for inference."""
    place, _, name = source.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(f"{place}.models")
    network: torch.nn.Module = getattr(module, name)()
    return network.eval()


def main(source: str, size: str, path: str) -> None:
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    network = build(source)
    example = torch.randn(1, 3, int(size), int(size))
    constructed = time.perf_counter()
    torch.onnx.export(network, (example,), path, dynamo=True, verbose=False)
    exported = time.perf_counter()
    print(json.dumps({"construct": constructed - started, "export": exported - constructed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
