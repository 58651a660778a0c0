"""The functions of a program: calls with the same structure share one."""

from __future__ import annotations

import re
from collections.abc import Sequence
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

FIRST_PARAMETERS = ("in", "out", "width", "stride", "dilation")
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
    """Functions by structure, each under a name of its own."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self._by_structure: dict[tuple[object, ...], str] = {}

    def add(
        self,
        base: str,
        doc: str,
        kind: Literal["block", "chain"],
        body: tuple[Statement, ...],
        result: int,
        env: dict[str, Value],
        conditions: Sequence[str],
    ) -> Function:
        """The function of that structure, new or known. A second structure of the same definition
        is named after the conditions that make it differ (`when: last` gives `vgg_last`)."""
        structure = (base, kind, body, result)
        known = self._by_structure.get(structure)
        if known is not None:
            return self.functions[known]
        free = names_in(body)
        order = [name for name in FIRST_PARAMETERS if name in free]
        order += [name for name in env if name in free and name not in order]
        parameters = tuple(Parameter(name, _TYPES[type(env[name])]) for name in order)
        slots = tuple(
            dict.fromkeys(item.name for item in body if isinstance(item, UseSlot))
        )
        name = self._free_name(base, conditions)
        function = Function(name, doc, kind, parameters, slots, body, result)
        self.functions[name] = function
        self._by_structure[structure] = name
        return function

    def _free_name(self, base: str, conditions: Sequence[str]) -> str:
        if base not in self.functions:
            return base
        for condition in conditions:
            if re.fullmatch(r"[a-z][a-z_0-9]*", condition):
                candidate = f"{base}_{condition}"
                if candidate not in self.functions:
                    return candidate
        number = 2
        while f"{base}_{number}" in self.functions:
            number += 1
        return f"{base}_{number}"


