"""A spec and a file of weights as a torch module."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from resnet_dsl.compiler import Compilation, torch_source
from resnet_dsl.weights.state import entries, from_file


def load_network(compilation: Compilation, weights: Path) -> tuple[nn.Module, list[str]]:
    """The emitted network with the weights of a file, in evaluation mode, and what to tell of how they fit.

    Raises CompileError (RD5xx) where the file is no file of weights, or of another network.
    """
    found, _, notes = from_file(weights, compilation.graph)
    name = compilation.spec.name
    module = ModuleType(name)
    exec(compile(torch_source(compilation), f"{name}.py", "exec"), module.__dict__)
    with torch.device("meta"):  # nothing is drawn that the file then replaces
        network: nn.Module = getattr(module, name)()
    state = {entry.name: torch.tensor(entry.load()) for entry in entries(compilation.graph, found)}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False), notes
