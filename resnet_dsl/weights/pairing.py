"""Pairing expected and found tensors by name, under one prefix and one set of rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from resnet_dsl.weights.order import COUNTER, kind
from resnet_dsl.weights.rules import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class Expected:
    """A tensor of the network's state dict. Counters of batches (`num_batches_tracked`) are never required."""

    name: str
    shape: tuple[int, ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """A tensor of the file, and the rules by which its name became the network's."""

    found: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairing:
    """An attempt: pairs by expected name (of any shape), and what is left on both sides. `unused` are those of the file
    that belong to something around the network."""

    prefix: str
    rules: RuleSet | None
    pairs: Mapping[str, Taken]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    unused: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return not (self.missing or self.extra or self.misshaped)

    @property
    def score(self) -> int:
        """How near this is to fitting: how many names it explains, shapes counting a little."""
        return 4 * len(self.pairs) - len(self.misshaped) - 2 * len(self.extra)


def pair(
    expected: Sequence[Expected],
    found: Mapping[str, NDArray[Any]],
    prefix: str,
    rules: RuleSet | None,
) -> Pairing:
    """Pair by name what can be paired; two tensors that become one name leave the second as extra."""
    wanted = {item.name: item for item in expected}
    pairs: dict[str, Taken] = {}
    extra: list[str] = []
    unused: list[str] = []
    for name in found:
        taken, fired = _renamed(name.removeprefix(prefix), rules, wanted)
        if taken in wanted and taken not in pairs:
            pairs[taken] = Taken(name, fired)
        elif kind(name) == COUNTER:
            continue
        elif rules and rules.unused and rules.unused.search(name.removeprefix(prefix)):
            unused.append(name)
        else:
            extra.append(name)
    missing = tuple(
        item.name
        for item in expected
        if item.required and item.name not in pairs and kind(item.name) != COUNTER
    )
    misshaped = tuple(
        name
        for name, taken in pairs.items()
        if not _fits(wanted[name], found[taken.found], taken.rules)
    )
    return Pairing(prefix, rules, pairs, missing, tuple(extra), tuple(unused), misshaped)


def _renamed(
    name: str, rules: RuleSet | None, wanted: Mapping[str, Expected]
) -> tuple[str, tuple[Rule, ...]]:
    """What the rules make of the name: the first of its forms that is wanted, else the first of all."""
    forms: dict[str, tuple[Rule, ...]] = {name: ()}
    for rule in rules.rules if rules else ():
        rewritten: dict[str, tuple[Rule, ...]] = {}
        for form, fired in forms.items():
            targets = rule.rewrite(form)
            for target in targets or (form,):
                rewritten.setdefault(target, (*fired, rule) if targets else fired)
        forms = rewritten
    chosen = next((form for form in forms if form in wanted), next(iter(forms)))
    fired = forms[chosen]
    if chosen == name:  # a rule that changes nothing only allows another rank
        fired = tuple(rule for rule in fired if rule.reshape)
    return chosen, fired


def _fits(item: Expected, array: NDArray[Any], rules: tuple[Rule, ...]) -> bool:
    if array.dtype.kind != "f" and kind(item.name) != COUNTER:
        return False
    shape = tuple(array.shape)
    if shape == item.shape:
        return True
    same = shape[:1] == item.shape[:1] and math.prod(shape) == math.prod(item.shape)
    return same and any(rule.reshape for rule in rules)
