"""The functions of a program: calls with the same structure share one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from resnet_dsl.ir.expr import Value, names
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Function,
    Parameter,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.ir.symbolic import free_names
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


def names_in(statements: Sequence[Statement]) -> frozenset[str]:
    """The free names of a body: what its function takes as parameters."""
    found: set[str] = set()

    def reference(item: Reference | Call | None) -> None:
        for _, tree in item.arguments if item is not None else ():
            found.update(names(tree))

    for statement in statements:
        for member in statement.members if isinstance(statement, Chain) else (statement,):
            match member:
                case Apply():
                    found |= free_names(member.op)
                case Call():
                    reference(member)
                    for _, filled in member.slots:
                        reference(filled)
                case UseSlot() | Chain():
                    pass
    return frozenset(found)


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
        free = names_in(body)
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
            for name, conditions in variants:
                final[name] = _distinct(base, conditions if len(variants) > 1 else (), taken)
        functions = {
            final[name]: replace(function, name=final[name], body=_renamed(function.body, final))
            for name, function in self.functions.items()
        }
        return functions, _renamed(main, final)


def _distinct(base: str, conditions: Sequence[str], taken: set[str]) -> str:
    words = [word for word in conditions if re.fullmatch(r"[a-z][a-z_0-9]*", word)]
    candidates = [f"{base}_{words[0]}" if words else base]
    number = 2
    while candidates[-1] in taken:
        candidates.append(f"{base}_{number}")
        number += 1
    taken.add(candidates[-1])
    return candidates[-1]


def _renamed(body: tuple[Statement, ...], final: Mapping[str, str]) -> tuple[Statement, ...]:
    """The statements with every function under its final name."""

    def reference(item: Reference | None) -> Reference | None:
        return None if item is None else replace(item, function=final[item.function])

    def call(item: Call) -> Call:
        slots = tuple((slot, reference(filled)) for slot, filled in item.slots)
        return replace(item, function=final[item.function], slots=slots)

    renamed: list[Statement] = []
    for statement in body:
        match statement:
            case Call():
                renamed.append(call(statement))
            case Chain():
                members = tuple(
                    call(member) if isinstance(member, Call) else member
                    for member in statement.members
                )
                renamed.append(replace(statement, members=members))
            case Apply() | UseSlot():
                renamed.append(statement)
    return tuple(renamed)
