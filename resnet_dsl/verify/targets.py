"""What a verification asks of a target: its values for images, and how it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from resnet_dsl.ir.graph import Graph
from resnet_dsl.verify.exact import Departure
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.weights.store import Weights


@dataclass(frozen=True)
class About:
    """A target, for people and for the certificate: `runtime` is what executes it, with its version; `file` is None
    where it was made for the verification alone."""

    name: str
    precision: str
    runtime: str
    file: Path | None = None
    sha256: str | None = None

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"{self.name} {self.precision}".rstrip()


class Target(Protocol):
    """Something that computes the network of a graph."""

    @property
    def about(self) -> About: ...

    @property
    def graph(self) -> Graph:
        """What it computes, with names as its values have them."""
        ...

    @property
    def arithmetic(self) -> Arithmetic: ...

    def inner(self, images: Tensor) -> Mapping[str, Tensor]:
        """The values that can be had, by the names of the graph's nodes; float32 images (N, C, H, W)."""
        ...

    def differing(self, weights: Weights) -> Sequence[Departure]:
        """The constants that the target holds and that are not those which the weights make."""
        ...

    def logits(self, images: Tensor) -> Tensor:
        """The output, computed as whoever uses the target computes it: nothing watched, all optimisations on."""
        ...
