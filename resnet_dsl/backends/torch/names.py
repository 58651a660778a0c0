"""Names in emitted code.

What the state dict holds is named by the IR alone; everything else (classes, functions, arguments)
is spelled here, so that no name of a spec can clash with Python, with torch or with another.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.program import Function
from resnet_dsl.ir.reserved import EMITTED_NAMES, MODULE_ATTRIBUTES

SPELLINGS: Mapping[str, str] = {
    "in": "in_channels",
    "out": "out_channels",
    "classes": "num_classes",
}
"""What the language calls it, and what torch does."""

LAYER = "layer"
"""The variable of loops over modules."""

RESERVED: frozenset[str] = frozenset({*keyword.kwlist, *dir(builtins)}) | EMITTED_NAMES


def identifier(text: str) -> str:
    """`text` as a Python identifier."""
    word = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return word if word and not word[0].isdigit() else f"_{word}"


def variable(text: str) -> str:
    """`text` as the name of a variable or a function."""
    return identifier(text).lower()


def class_name(name: str) -> str:
    """`pre_activation` as `PreActivation`."""
    words = re.split(r"[^A-Za-z0-9]+", name)
    camel = "".join(word[:1].upper() + word[1:] for word in words)
    return camel if camel and not camel[0].isdigit() else f"Net{camel}"


class Names:
    """A scope: every name handed out is free of the reserved ones and of those before."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*RESERVED, *taken}

    def take(self, wanted: str) -> str:
        """`wanted`, or the nearest free name."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_" if number == 2 else f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def take_class(self, name: str) -> str:
        """The class name for `name`, or that with a number."""
        return self.take_numbered(class_name(name))

    def take_numbered(self, wanted: str) -> str:
        """`wanted`, or that with a number."""
        numbered = (f"{wanted}{number}" for number in count(2))
        return self.take(
            next(each for each in chain([wanted], numbered) if each not in self._taken)
        )

    def inner(self, also: Iterable[str] = ()) -> Names:
        """A scope inside of this one, in which the names `also` are taken, too."""
        return Names({*self._taken, *also})


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a function's parameters and slots are spelled as arguments."""

    parameters: Mapping[str, str]
    slots: Mapping[str, str]

    @classmethod
    def of(cls, function: Function, module: Names) -> Spelling:
        """Spellings that hide no name of the module."""
        scope = module.inner()
        names = [item.name for item in function.parameters]
        common = SPELLINGS if {"out", "width"} & {*names} else {**SPELLINGS, "in": "channels"}
        return cls(
            {name: scope.take(common.get(name) or variable(name)) for name in names},
            {slot: scope.take(variable(slot)) for slot in function.slots},
        )


def member(name: str) -> str:
    """`name`, which becomes an attribute and a part of state-dict keys as it stands.

    Raises CompileError (RD610) where Python or torch has no room for it.
    """
    if name in MODULE_ATTRIBUTES:
        why = "torch's modules have an attribute of that name"
    elif keyword.iskeyword(name) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        why = "it is no attribute that Python code can name"
    else:
        return name
    raise CompileError(
        Diagnostic(
            "RD610",
            f"the torch target cannot name a module `{name}`",
            why=why,
            hint="give the operation another `name:` in the spec",
        )
    )
