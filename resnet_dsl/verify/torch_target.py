"""The emitted torch module as a target: its modules' values by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor, nn

from resnet_dsl.compiler import Compilation, torch_source
from resnet_dsl.ir.graph import Graph
from resnet_dsl.verify.exact import Departure
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.verify.targets import About
from resnet_dsl.weights.state import entries
from resnet_dsl.weights.store import Weights


class TorchTarget:
    """The source that the compiler emits for a spec, executed, with the weights loaded strictly."""

    def __init__(
        self, compilation: Compilation, weights: Weights, source: str | None = None
    ) -> None:
        self.compilation = compilation
        self.weights = weights
        self.source = torch_source(compilation) if source is None else source
        self.about = About("torch", "fp32", f"torch {torch.__version__}")
        self.arithmetic = Arithmetic()

    @cached_property
    def graph(self) -> Graph:
        """The network as the module has it: nothing is folded."""
        return self.compilation.inference_graph(fold=False)

    @cached_property
    def module(self) -> nn.Module:
        """The module in evaluation mode."""
        name = self.compilation.spec.name
        namespace = ModuleType(name)
        exec(compile(self.source, f"{name}.py", "exec"), namespace.__dict__)
        with torch.device("meta"):
            network: nn.Module = getattr(namespace, name)()
        state = {
            entry.name: torch.from_numpy(entry.load().copy())
            for entry in entries(self.compilation.graph, self.weights)
        }
        network.load_state_dict(state, strict=True, assign=True)
        return network.eval()

    def differing(self, weights: Weights) -> Sequence[Departure]:
        """None: the module has been given the weights."""
        return ()

    def logits(self, images: Tensor) -> Tensor:
        """(N, classes)"""
        with torch.inference_mode():
            found: Tensor = self.module(images)
            return found.clone()

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        """What each module that has weights reads and makes, what blocks make, and the output. Activations, which share
        one module and work in place, are seen by whoever reads them next."""
        makers = {node.name: node for node in self.graph.nodes if node.constants}
        blocks = _modules_of_blocks(self.graph)
        seen: dict[str, Tensor] = {}
        hooks = []
        for name, module in self.module.named_modules():
            node = makers.get(name)
            if name in blocks:
                hooks.append(module.register_forward_hook(_watch_block(seen, blocks[name])))
            if node is None:
                continue
            operand = node.inputs[0]
            reads = self.graph.nodes[operand - 1].name if operand else None

            hooks.append(module.register_forward_hook(_watch(seen, name, reads)))
        try:
            with torch.inference_mode():
                logits = self.module(images)
        finally:
            for hook in hooks:
                hook.remove()
        seen[self.graph.nodes[self.graph.output - 1].name] = logits.clone()
        return seen


def _modules_of_blocks(graph: Graph) -> dict[str, str]:
    """The last operation of each block that is a module: whose operations have names below its own. A sequence has
    those of its blocks in a row, and a block is called as its first one is."""
    last: dict[str, str] = {}
    for node in graph.nodes:
        if node.block:
            last[node.block] = node.name
    for node in graph.nodes:
        if not node.name.startswith(f"{node.block}."):
            last.pop(node.block, None)
    return last


Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


def _watch(seen: dict[str, Tensor], name: str, reads: str | None) -> Hook:
    """Keep what a module makes under its name, and what it reads under that of whoever made it."""

    def watch(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        seen[name] = made.clone()
        if reads is not None and reads not in seen:
            seen[reads] = given[0].clone()

    return watch


def _watch_block(seen: dict[str, Tensor], name: str) -> Hook:
    """Keep what a block makes under the name of its last operation."""

    def watch(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        seen.setdefault(name, made.clone())

    return watch
