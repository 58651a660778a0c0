"""Fitting the tensors of a file to the names of a network: by name, by another project's names, or by order.

1. The names are the network's own, but for a prefix that all of them have.
2. They are another project's (`rules.py`): a set of rules is taken if all names then fit.
3. They say nothing, and order and shapes leave one way (`order.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from resnet_dsl.weights.load import Checkpoint
from resnet_dsl.weights.mismatch import mismatch
from resnet_dsl.weights.order import COUNTER, by_order, kind
from resnet_dsl.weights.pairing import Expected, Pairing, pair
from resnet_dsl.weights.rules import RULE_SETS, RuleSet

__all__ = ["Expected", "Match", "MatchReport", "Matched", "match"]

_MOST_AROUND = 10  # tensors around the network (a detector's) for each of its own; beyond, rules are not worth trying


@dataclass(frozen=True, slots=True)
class Matched:
    """One tensor: its name in the network, its name in the file, and what told that they are the same."""

    name: str
    found: str
    how: Literal["name", "rule", "order"]
    rule: str = ""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """How the tensors were matched."""

    matched: tuple[Matched, ...]
    expected: int
    project: str = ""
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """In words: `161 of 161 tensors: 159 by name, 2 by rule `linear → fc` (akamaster/…)`."""
        ways = Counter((item.how, item.rule) for item in self.matched)
        parts: list[str] = []
        if count := ways.pop(("name", ""), 0):
            parts.append(f"{count} by name")
        rules = {rule: count for (how, rule), count in ways.items() if how == "rule"}
        if 0 < len(rules) <= 2:
            parts += [f"{count} by rule `{rule}`" for rule, count in rules.items()]
            parts[-1] += f" ({self.project})"
        elif rules:
            parts.append(f"{sum(rules.values())} by the names of {self.project}")
        if count := ways.get(("order", ""), 0):
            parts.append(f"{count} by order and shape")
        return f"{len(self.matched)} of {self.expected} tensors: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Match:
    """The arrays under the network's names, in the network's order, and how they came by them."""

    arrays: dict[str, NDArray[Any]]
    report: MatchReport


def match(expected: Sequence[Expected], found: Mapping[str, NDArray[Any]]) -> Match:
    """Fit `found` to `expected`, which is in the order of the state dict.

    Tensors that are not required may be missing, and counters of batches are never missed. Raises CompileError RD507,
    listing what is missing, extra and misshaped.
    """
    nearest: Pairing | None = None
    hopeless = len(found) > _MOST_AROUND * len(expected) + 1000
    for prefix, rules in _tries(found, () if hopeless else RULE_SETS):
        pairing = pair(expected, found, prefix, rules)
        if pairing.fits:
            return _by_name(expected, found, pairing)
        if nearest is None or pairing.score > nearest.score:
            nearest = pairing
    assert nearest is not None  # the names as they are were tried
    ordered = found.ordered if isinstance(found, Checkpoint) else True
    refusal = ""
    tensors = tuple(item for item in expected if kind(item.name) != COUNTER)
    for items in dict.fromkeys((tensors, tuple(item for item in tensors if item.required))):
        outcome = by_order([(item.name, item.shape) for item in items], found, ordered)
        if not isinstance(outcome, str):
            return _by_order(expected, found, outcome)
        refusal = refusal or outcome
    raise mismatch(expected, found, nearest, refusal)


def _tries(
    found: Mapping[str, NDArray[Any]], rule_sets: Sequence[RuleSet]
) -> Iterator[tuple[str, RuleSet | None]]:
    """The names as they are, without a prefix that all have, and each by the rules of each project."""
    prefixes = _common_prefixes(list(found))
    for rules in (None, *rule_sets):
        for prefix in prefixes:
            yield prefix, rules


def _common_prefixes(names: list[str]) -> list[str]:
    """`""`, and what all names begin with, up to a dot: `net.` and `net.inner.` for `net.inner.conv1.weight`, …"""
    prefixes = [""]
    parts = names[0].split(".")[:-1] if names else []
    for end in range(1, len(parts) + 1):
        prefix = ".".join(parts[:end]) + "."
        if not all(name.startswith(prefix) for name in names):
            break
        prefixes.append(prefix)
    return prefixes


def _by_name(
    expected: Sequence[Expected],
    found: Mapping[str, NDArray[Any]],
    pairing: Pairing,
) -> Match:
    arrays: dict[str, NDArray[Any]] = {}
    matched: list[Matched] = []
    for item in expected:
        if item.name not in pairing.pairs:
            continue
        taken = pairing.pairs[item.name]
        arrays[item.name] = found[taken.found].reshape(item.shape)
        titles = ", ".join(rule.title for rule in taken.rules)
        matched.append(Matched(item.name, taken.found, "rule" if titles else "name", titles))
    notes: tuple[str, ...] = ()
    if pairing.prefix:
        notes += (f"stripped `{pairing.prefix}` from every name",)
    project = pairing.rules.project if pairing.rules else ""
    if pairing.unused:
        notes += (
            f"{len(pairing.unused)} tensors of {project} lie outside the network and are unused",
        )
    if pairing.rules and pairing.rules.note:
        notes += (pairing.rules.note,)
    report = MatchReport(tuple(matched), _wanted(expected, arrays), project, notes)
    return Match(arrays, report)


def _by_order(
    expected: Sequence[Expected],
    found: Mapping[str, NDArray[Any]],
    places: dict[str, str],
) -> Match:
    arrays = {name: found[other] for name, other in places.items()}
    matched = tuple(
        Matched(name, other, "name" if name == other else "order") for name, other in places.items()
    )
    notes = (
        "the names fit no rule: the order of the layers decided, so check the accuracy of the result",
    )
    return Match(arrays, MatchReport(matched, _wanted(expected, arrays), notes=notes))


def _wanted(expected: Sequence[Expected], arrays: Mapping[str, object]) -> int:
    """How many tensors there are to match: those that are required, and what else was there."""
    return sum(
        (item.required and kind(item.name) != COUNTER) or item.name in arrays for item in expected
    )
