"""The functions of a program: calls with the same structure share one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Literal

from resnet_dsl.ir.calls import map_members, names_read
from resnet_dsl.ir.expr import Value
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Function,
    Parameter,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.lower.place import Place

FIRST_PARAMETERS = ("in", "out", "width", "stride", "dilation")
MAX_STATEMENTS = 200_000
"""How many statements all functions of a network may have together; equal ones are kept once."""

_TYPES: dict[type, Literal["int", "float", "bool", "str"]] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
}


class Registry:
    """Functions by structure. A definition's second structure is a function of its own; `settled`
    gives the names, after the conditions that tell them apart (`when: last` gives `vgg_last`)."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self._by_structure: dict[tuple[object, ...], str] = {}
        self._variants: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        self._statements = 0

    def add(
        self,
        base: str,
        doc: str,
        kind: Literal["block", "chain"],
        body: tuple[Statement, ...],
        result: int,
        env: Mapping[str, Value],
        conditions: Sequence[str],
        place: Place,
    ) -> Function:
        """The function of that structure, new or known. Raises RefusalError where there are too many."""
        structure = (base, kind, body, result)
        known = self._by_structure.get(structure)
        if known is not None:
            return self.functions[known]
        self._statements += len(body)
        if self._statements > MAX_STATEMENTS:
            raise place.error(
                "RD406",
                f"the blocks here have more than {MAX_STATEMENTS:,} operations of different kinds",
                hint="give more calls the same parameters, so that they can share a function",
            )
        free = names_read(body)
        order = [name for name in FIRST_PARAMETERS if name in free]
        order += [name for name in env if name in free and name not in order]
        parameters = tuple(Parameter(name, _TYPES[type(env[name])]) for name in order)
        slots = tuple(dict.fromkeys(item.name for item in body if isinstance(item, UseSlot)))
        variants = self._variants.setdefault(base, [])
        name = f"{base}#{len(variants)}"
        variants.append((name, tuple(conditions)))
        function = Function(name, doc, kind, parameters, slots, body, result)
        self.functions[name] = function
        self._by_structure[structure] = name
        return function

    def settled(
        self, main: tuple[Statement, ...]
    ) -> tuple[dict[str, Function], tuple[Statement, ...]]:
        """The functions under their final names, and main with its calls renamed."""
        final: dict[str, str] = {}
        taken: set[str] = set()
        for base, variants in self._variants.items():
            numbers = count(2)
            for name, conditions in variants:
                told = conditions if len(variants) > 1 else ()
                final[name] = _distinct(base, told, numbers, taken)
        functions = {
            final[name]: replace(function, name=final[name], body=_renamed(function.body, final))
            for name, function in self.functions.items()
        }
        return functions, _renamed(main, final)


def _distinct(base: str, conditions: Sequence[str], numbers: Iterator[int], taken: set[str]) -> str:
    """A name that is not taken. `numbers` counts on for each base: what it has passed is taken."""
    words = [word for word in conditions if re.fullmatch(r"[a-z][a-z_0-9]*", word)]
    name = f"{base}_{words[0]}" if words else base
    while name in taken:
        name = f"{base}_{next(numbers)}"
    taken.add(name)
    return name


def _renamed(body: tuple[Statement, ...], final: Mapping[str, str]) -> tuple[Statement, ...]:
    """The statements with every function under its final name."""

    def reference(item: Reference | None) -> Reference | None:
        return None if item is None else replace(item, function=final[item.function])

    def member(item: Apply | Call) -> Apply | Call:
        if isinstance(item, Apply):
            return item
        slots = tuple((slot, reference(filled)) for slot, filled in item.slots)
        return replace(item, function=final[item.function], slots=slots)

    return map_members(body, member)
