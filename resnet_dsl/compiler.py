"""The whole way, in order: text → spec → program → graph → targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.program import Program
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import Source, load
from resnet_dsl.language.validate import validate


@dataclass(frozen=True, slots=True)
class Compilation:
    """A spec with its text and its program."""

    source: Source
    spec: Spec
    program: Program


def spec_hash(source: Source) -> str:
    """SHA-256 of what a spec says, whatever its layout: extends, includes and overrides resolved."""
    text = json.dumps(source.data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def front(path: Path, overrides: Sequence[str] = ()) -> Compilation:
    """Text to program. Raises CompileError."""
    from resnet_dsl.lower import lower

    source = load(path, overrides)
    spec = validate(Spec, source.data, source)
    return Compilation(source, spec, lower(spec, source, spec_hash(source)))


def flat(program: Program) -> Graph:
    """Program to graph."""
    from resnet_dsl.passes.inline import inline

    return inline(program)
