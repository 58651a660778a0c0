"""The fastest mix of precisions within a loss of accuracy: which blocks of a network stay wide.

Each unit of the network (a block; the stem; the head) is made narrow alone, and how far the logits move is its
sensitivity: their root mean square distance, as a part of the logits' own. That is smooth where an accuracy on a few
thousand images is not. Units are then kept wide in the order of what they cost for what they bring, sensitivity squared
(errors of units add up as variances do) for a multiply-add made narrow, and the shortest prefix of that order whose
accuracy is within the budget is found by bisection. Last, each of these is made narrow again, the largest first, as
long as the budget holds. Every accuracy is measured, none is predicted: Wu et al. 2020, "Integer quantization for deep
learning inference", section 5.2 (partial quantisation by sensitivity).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2

from resnet_dsl.analysis.macs import macs_per_node
from resnet_dsl.ir.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a network that is narrow or wide as a whole: its block's path, its nodes, its multiply-adds."""

    name: str
    nodes: frozenset[str]
    macs: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a mix was found to do: images that it has right, of so many, and how far its logits are from the wide
    network's, as a part of theirs."""

    right: int
    images: int
    distance: float

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.right / self.images


@dataclass(frozen=True, slots=True)
class Mix:
    """What a search has found: the units that stay wide in the order of the network, what the mix does, what the wide
    network and the wholly narrow one do, the distance that each unit makes alone, and how many mixes were measured."""

    wide: tuple[Unit, ...]
    found: Measured
    reference: Measured
    narrow: Measured
    sensitivity: dict[str, float]
    measurements: int

    @property
    def loss(self) -> float:
        """Points of accuracy that the mix loses; below zero it wins."""
        return self.reference.accuracy - self.found.accuracy


def units_of(graph: Graph, name_of: Callable[[Node], str] | None = None) -> tuple[Unit, ...]:
    """The parts of a network that have multiply-adds to be made narrow, in its order: a block each, and what stands
    outside of blocks by its stage."""
    naming = name_of or unit_name
    nodes: dict[str, list[str]] = {}
    macs: dict[str, int] = {}
    for node, count in zip(graph.nodes, macs_per_node(graph), strict=True):
        name = naming(node)
        nodes.setdefault(name, []).append(node.name)
        macs[name] = macs.get(name, 0) + count
    return tuple(Unit(name, frozenset(nodes[name]), macs[name]) for name in nodes if macs[name])


def unit_name(node: Node) -> str:
    """The outermost block that a node is in, or else its stage."""
    if not node.block:
        return node.group or node.name
    return ".".join(node.block.split(".")[:2])


def steps_of(count: int) -> int:
    """The most measurements that a search among so many units takes."""
    return 2 + count + ceil(log2(count + 1)) + count


def search(
    units: Sequence[Unit],
    budget: float,
    measure: Callable[[frozenset[str]], Measured],
    reference: Measured,
) -> Mix:
    """The mix that loses at most `budget` points of accuracy against `reference`, the wide network on the same images.

    `measure` tells what the network does with the nodes of these names wide and all others narrow.
    """
    work = _Search(tuple(units), budget, measure, reference)
    narrow = work.measured(frozenset())
    sensitivity: dict[str, float] = {}
    kept: list[Unit] = []
    if not work.within(narrow):
        for unit in units:
            sensitivity[unit.name] = work.alone(unit)
        order = sorted(
            units, key=lambda unit: sensitivity[unit.name] ** 2 / max(unit.macs, 1), reverse=True
        )
        kept = work.shortest(order)
        for unit in sorted(kept, key=lambda unit: unit.macs, reverse=True):
            fewer = [item for item in kept if item is not unit]
            if work.within(work.mix(fewer)):
                kept = fewer
    wide = tuple(unit for unit in units if unit in kept)
    return Mix(wide, work.mix(wide), reference, narrow, sensitivity, work.count)


class _Search:
    """Mixes that were measured, each once."""

    def __init__(
        self,
        units: tuple[Unit, ...],
        budget: float,
        measure: Callable[[frozenset[str]], Measured],
        reference: Measured,
    ) -> None:
        self.units = units
        self.budget = budget
        self.measure = measure
        self.reference = reference
        self.known: dict[frozenset[str], Measured] = {}

    @property
    def count(self) -> int:
        return len(self.known)

    def within(self, found: Measured) -> bool:
        loss = self.reference.accuracy - found.accuracy
        return loss <= self.budget + 1e-9

    def measured(self, wide: frozenset[str]) -> Measured:
        """What the mix does in which the units of these names are wide."""
        if len(wide) == len(self.units):
            return self.reference
        if wide not in self.known:
            nodes = [unit.nodes for unit in self.units if unit.name in wide]
            self.known[wide] = self.measure(frozenset().union(*nodes))
        return self.known[wide]

    def mix(self, wide: Sequence[Unit]) -> Measured:
        return self.measured(frozenset(unit.name for unit in wide))

    def alone(self, unit: Unit) -> float:
        """How far the logits move with this unit narrow and all others wide."""
        return self.mix([item for item in self.units if item is not unit]).distance

    def shortest(self, order: Sequence[Unit]) -> list[Unit]:
        """The shortest prefix of `order` that is wide in a mix within the budget; all of it always is."""
        too_few, enough = 0, len(order)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if self.within(self.mix(order[:middle])):
                enough = middle
            else:
                too_few = middle
        return list(order[:enough])
