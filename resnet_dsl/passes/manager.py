"""Passes in order, with the verifier after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.verify import VerificationError, Verifier


@dataclass(frozen=True, slots=True)
class Pass:
    """A pure function of graphs, and the name under which failures know it."""

    name: str
    function: Callable[[Graph], Graph]


class PassError(Exception):
    """A pass that failed, or left a graph that does not verify, and the passes run before it."""

    def __init__(self, name: str, done: Sequence[str], reason: str) -> None:
        self.name = name
        self.done = tuple(done)
        before = ", ".join(done) if done else "none"
        super().__init__(f"the pass {name} failed: {reason} (passes run before it: {before})")


def run(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after all passes. Raises VerificationError where `graph` itself is broken,
    PassError where a pass is at fault, and lets a pass's CompileError through: that one is the
    user's.
    """
    verifier = Verifier()
    verifier.verify(graph, "inline")
    done: list[str] = []
    for step in passes:
        try:
            graph = step.function(graph)
            verifier.verify(graph, step.name)
        except CompileError:
            raise
        except VerificationError as problem:
            raise PassError(step.name, done, str(problem)) from problem
        except Exception as problem:
            raise PassError(step.name, done, f"{type(problem).__name__}: {problem}") from problem
        done.append(step.name)
    return graph
