"""What bodies at random are made of: channels of which a divisor is known, and the names that may be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Item: TypeAlias = str | dict[str, Any]
Body: TypeAlias = list[Item]


@dataclass(frozen=True)
class Channels:
    """A number of channels: an expression, and a number that divides it."""

    text: str
    divisor: int

    def times(self, factor: int) -> Channels:
        return Channels(f"({self.text}) * {factor}", self.divisor * factor)

    def plus(self, other: Channels) -> Channels:
        divisor = min(self.divisor, other.divisor)  # they are powers of two
        return Channels(f"{self.text} + {other.text}", divisor)


@dataclass(frozen=True)
class Callee:
    """A block that bodies may call, where `reads` divides the channels. It has the block's stride where `strides`, as
    many channels as it reads where `keeps`, and else `expansion` times its width."""

    name: str
    strides: bool
    keeps: bool
    reads: int = 1
    expansion: int = 1
    arguments: tuple[tuple[str, tuple[object, ...]], ...] = ()


@dataclass
class Names:
    """What a body may read: widths, conditions, rates, counts and kernels, and the blocks and shortcuts it may call;
    `norm_groups` are those of a group normalisation (0 for any other), `held` all parameters, `given` the names of
    modules so far."""

    widths: Sequence[Channels]
    conditions: Sequence[str] = ()
    rates: Sequence[object] = (0.25, "0.1 + 0.2")
    counts: Sequence[object] = (0, 1, 2, "4 // 2")
    kernels: Sequence[object] = (1, 3, 5, [1, 3], [3, 1], [5, 1])
    sides: Sequence[str] = ("symmetric", "trailing")
    dilations: Sequence[object] = (1, 1, 2, [1, 2])
    fills: Sequence[object] = (-2.0, 0.5, 1)
    callees: Sequence[Callee] = ()
    shortcuts: Sequence[object] = ("B", "C", "D")
    norm_groups: int = 0
    held: Sequence[str] = ()
    prefix: str = "part"
    given: list[str] = field(default_factory=list)

    def fresh(self, kind: int = 0) -> str:
        """A module's name that no other has; the `kind` says how ordinary it is."""
        unusual = [f"{self.prefix}_{word}" for word in ("Layer", "forward_", "conv1")]
        if self.prefix == "part":  # the only names beside counted ones
            unusual = ["y", "weight", "in_channels", "relu9", "torch", "outputs"]
        name = f"{self.prefix}_{len(self.given) + 1}"
        if kind and unusual[kind % len(unusual)] not in self.given:
            name = unusual[kind % len(unusual)]
        self.given.append(name)
        return name
