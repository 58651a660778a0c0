"""Running the targets of one network side by side, on one file of weights."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the targets gave for the same images: (N, classes) each."""

    torch: Array
    onnxruntime: Array

    @property
    def largest_difference(self) -> float:
        """The largest difference between them, as a part of the largest output."""
        scale = float(abs(self.torch).max())
        return float(abs(self.onnxruntime - self.torch).max()) / scale


def run_targets(source: Path, weights: Path, model: Path, images: Array) -> Outputs:
    """Run an emitted torch module (its factory is named as its file) and an ONNX graph.

    `images` are (N, C, H, W) and ready for the network. Raises CompileError RD650 where torch or
    ONNX Runtime is missing.
    """
    require("onnxruntime", "torch")
    import onnxruntime
    import torch
    from safetensors.torch import load_file

    network = getattr(import_emitted(source), source.stem)().eval()
    network.load_state_dict(load_file(weights), strict=True)
    with torch.inference_mode():
        expected: Array = network(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    return Outputs(expected, found)


def require(*packages: str) -> None:
    """Raise CompileError RD650 for packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CompileError(
            Diagnostic(
                "RD650",
                f"this needs {', '.join(missing)}",
                why="only some of the package's extras are installed",
                hint="pip install 'resnet-dsl[all]'",
            )
        )


def import_emitted(path: Path) -> Any:
    """Import a file that the compiler has emitted; its neighbours can be imported by it."""
    spec = importlib.util.spec_from_file_location(f"resnet_dsl_emitted_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module: ModuleType = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
