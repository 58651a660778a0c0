"""The whole way, in order: text → spec → program → graph → targets.

load, validate   language    text to a Spec with positions
lower            lower       Spec to Program: functions over symbolic parameters
inline           passes      Program to Graph: flat, concrete
INFERENCE        passes      Graph to Graph: what inference needs
emit             backends    Program to a torch module; Graph to an ONNX file
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, TypeAlias

from resnet_dsl import __version__
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.program import Program
from resnet_dsl.ir.text import graph_text, program_text
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.recipes import training, written_out
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import Source, load
from resnet_dsl.lower import lower
from resnet_dsl.passes.canonicalise import canonicalise
from resnet_dsl.passes.dead_code import dead_code
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.inference import inference
from resnet_dsl.passes.inline import inline
from resnet_dsl.passes.manager import Pass, run
from resnet_dsl.passes.numbers import Numbers

Stop: TypeAlias = Literal["spec", "program", "graph", "folded"]
FP32 = Numbers()


@dataclass(frozen=True)
class Compilation:
    """A spec on its way: its text, its program, and the graphs that are read off it."""

    source: Source
    spec: Spec
    program: Program

    @cached_property
    def graph(self) -> Graph:
        """The flat graph, as the state dict has it."""
        return inline(self.program)

    def inference_graph(
        self,
        *,
        fold: bool = True,
        numbers: Numbers = FP32,
        fixed_size: bool = True,
    ) -> Graph:
        """The graph that inference targets take: identities gone, batch normalisation folded, in the numbers that it is
        to compute with."""
        return run(self.graph, _passes(fold=fold, numbers=numbers, fixed_size=fixed_size))


def compile_spec(path: Path, overrides: Sequence[str] = ()) -> Compilation:
    """Text to program. Raises CompileError with every finding."""
    source = load(path, overrides, resolve=_bundled)
    spec = read_spec(source)
    return Compilation(source, spec, lower(spec, source, spec_hash(source)))


def stop_after(stop: Stop, path: Path, overrides: Sequence[str] = ()) -> str:
    """The text form of what stands at a named point of the way. Raises CompileError."""
    match stop:
        case "spec":
            source = load(path, overrides, resolve=_bundled)
            read_spec(source)
            return _visible(json.dumps(source.data, indent=2, ensure_ascii=False)) + "\n"
        case "program":
            return program_text(compile_spec(path, overrides).program)
        case "graph":
            return graph_text(compile_spec(path, overrides).graph)
        case "folded":
            return graph_text(compile_spec(path, overrides).inference_graph())


def torch_source(compilation: Compilation) -> str:
    """Program to the torch target's one source file."""
    from resnet_dsl.analysis.macs import total_macs
    from resnet_dsl.analysis.parameters import total_parameters
    from resnet_dsl.backends.torch.emit import emit
    from resnet_dsl.backends.torch.summary import Facts

    graph = compilation.graph
    return emit(
        compilation.program,
        Facts(
            parameters=total_parameters(graph).trainable,
            macs=total_macs(graph),
            version=__version__,
        ),
    )


def spec_hash(source: Source) -> str:
    """SHA-256 of what a spec says, whatever its layout: extends, includes, overrides and the recipe resolved."""
    data = written_out(source)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def resolved(compilation: Compilation) -> str:
    """A spec as one file that needs no other, with every setting of its training, in JSON, which is YAML. Read again,
    it is the same network, with the same hash."""
    found = training(compilation.spec, compilation.source)
    data = compilation.source.data | ({"train": dict(found.values)} if found is not None else {})
    return _visible(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"


def _visible(text: str) -> str:
    """JSON in which what would steer a terminal is an escape; letters of any language stay as they are."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c).strip('"') for c in text)


def _passes(*, fold: bool, numbers: Numbers, fixed_size: bool) -> list[Pass]:
    canonical = partial(canonicalise, fixed_size=fixed_size)
    passes = [Pass("inference", inference), Pass("canonicalise", canonical)]
    if fold:
        passes.append(Pass("fold_batchnorm", fold_batchnorm))
    return [*passes, Pass("dead_code", dead_code), *numbers.passes()]


def _bundled(name: str, _including: Path) -> Path:
    """A name in `extends` that is no file: a spec that comes with the package."""
    from resnet_dsl.catalogue import bundled

    return bundled()[name]
