"""Which names an expression may use, and where a definition's expressions and calls stand.

Every definition knows its own parameters and lets. Besides them a block knows `in` and `out`
(channels), `width`, `stride`, `dilation`, its place (`index` of `depth` in its stage, `number` of
`blocks` in the network, `first`, `last`) and `transition` (shapes differ between its ends); a shortcut
knows `in`, `out`, `stride` and `transition`; a stem `in`; a head `in` and `classes`. A `repeat` adds
`i`, counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from resnet_dsl.ir.expr import EXPR_TYPES, Expr, ExprError, TypeName, infer
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.language.body import Body, Item, Operation, PadChannelsArgs
from resnet_dsl.language.definitions import (
    BlockDef,
    Definition,
    Kind,
    ShortcutDef,
)
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.parts import refused

Path = tuple[str | int, ...]
Types = Mapping[str, TypeName | None]
"""Names with their types; None where what would say the type is refused."""
Checked = tuple[Expr, Path, TypeName, Types | None]
Called = tuple[Kind, CallForm, Path, Types | None]

STAGE: Mapping[str, TypeName] = {"index": "int", "depth": "int", "number": "int", "blocks": "int"}
"""What a stage's `width` and block parameters may depend on."""

SCOPES: Mapping[Kind, Mapping[str, TypeName]] = {
    "block": {
        "in": "int",
        "out": "int",
        "width": "int",
        "stride": "int",
        "dilation": "int",
        **STAGE,
        "first": "bool",
        "last": "bool",
        "transition": "bool",
    },
    "shortcut": {"in": "int", "out": "int", "stride": "int", "transition": "bool"},
    "stem": {"in": "int"},
    "head": {"in": "int", "classes": "int"},
}
SIDES = ("symmetric", "trailing")


BUILT_IN = ("width", "stride", "dilation")
"""What a call in a body may give to a block besides its parameters."""

PLACE_OF_ONE: Mapping[str, int | bool] = {
    "index": 0,
    "depth": 1,
    "number": 1,
    "blocks": 1,
    "first": True,
    "last": True,
}
"""The place in a stage of a block that a body calls."""


def _bodies(definition: Definition, path: Path) -> Iterator[tuple[Body, Path]]:
    for field in ("before", "body", "residual", "gate", "after"):
        body = getattr(definition, field, None)
        if body is not None:
            yield body, (*path, field)
    if isinstance(definition, BlockDef):
        for index, branch in enumerate(definition.branches or ()):
            yield branch or [], (*path, "branches", index)


def _items(
    body: Body, path: Path, types: Types | None
) -> Iterator[tuple[Item, Path, Types | None]]:
    """Every item of a body and of the bodies in it; depth is bounded by the reader's limit."""
    for index, item in enumerate(body):
        where = (*path, index)
        yield item, where, types
        inner = types
        if item.repeat is not None and types is not None:
            inner = {**types, "i": "int"}
        for field in ("residual", "gate", "after", "body", "sequence"):
            nested: Body | None = getattr(item, field)
            yield from _items(nested or [], (*where, field), inner)
        for number, branch in enumerate(item.branches or ()):
            yield from _items(branch or [], (*where, "branches", number), types)


def expressions(definition: Definition, types: Types | None, path: Path) -> Iterator[Checked]:
    if isinstance(definition, ShortcutDef) and definition.when is not None:
        yield definition.when, (*path, "when"), "bool", types
    for body, where in _bodies(definition, path):
        for item, place, scope in _items(body, where, types):
            if item.when is not None:
                yield item.when, (*place, "when"), "bool", scope
            if item.repeat is not None:
                yield item.repeat, (*place, "repeat"), "int", scope
            if item.operation is not None:
                for steps, tree, wanted in _arguments(item.operation):
                    yield tree, (*place, item.operation.op, *steps), wanted, scope


_TYPES: Mapping[str, TypeName] = {"bias": "bool", "bias_fill": "float", "rate": "float"}
"""The arguments of operations whose expressions are no integers."""


def _arguments(operation: Operation) -> Iterator[tuple[Path, Expr, TypeName]]:
    """The expressions among an operation's arguments."""
    for name in type(operation).model_fields:
        value = getattr(operation, name)
        wanted = _TYPES.get(name, "int")
        if isinstance(value, EXPR_TYPES):
            yield (name,), value, wanted
        elif isinstance(value, tuple):
            for index, tree in enumerate(value):
                yield (name, index), tree, wanted


def sides(definition: Definition, path: Path) -> Iterator[tuple[str, Path]]:
    for body, where in _bodies(definition, path):
        for item, place, _ in _items(body, where, {}):
            if isinstance(item.operation, PadChannelsArgs) and not refused(item.operation.side):
                yield item.operation.side, (*place, "pad_channels", "side")


def calls(definition: Definition, types: Types | None, path: Path) -> Iterator[Called]:
    """Every call of a block or a shortcut in a definition, with its place and the names there."""
    if isinstance(definition, BlockDef) and definition.shortcut is not None:
        yield "shortcut", definition.shortcut, (*path, "shortcut"), {}
    for body, where in _bodies(definition, path):
        for item, place, scope in _items(body, where, types):
            if item.call is not None:
                yield "block", item.call, place, scope
            if item.shortcut is not None:
                yield "shortcut", item.shortcut, (*place, "shortcut"), {}


def all_types(kind: Kind, definition: Definition) -> Types | None:
    """The names that a definition's bodies know, with their types; None where what would give
    names is refused."""
    if refused(definition.parameters) or refused(definition.let):
        return None
    types: dict[str, TypeName | None] = dict(SCOPES[kind])
    types |= {name: declared.type for name, declared in definition.parameters.items()}
    for name, tree in definition.let.items():
        try:
            types[name] = infer(tree, known_types(types))
        except ExprError:  # its own finding
            types[name] = None
    return types


def known_types(types: Types) -> Mapping[str, TypeName]:
    """The names whose types are known."""
    return {name: type_ for name, type_ in types.items() if type_ is not None}


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def names_read(definition: Definition) -> frozenset[str]:
    """The names that a definition's expressions read, the arguments of its calls included."""
    found: set[str] = set()
    for tree in definition.let.values():
        found |= names_of(tree)
    if isinstance(definition, BlockDef) and definition.out is not None:
        found |= names_of(definition.out)
    for tree, _, _, _ in expressions(definition, {}, ()):
        found |= names_of(tree)
    for body, where in _bodies(definition, ()):
        for item, _, _ in _items(body, where, {}):
            for form in (item.call, item.shortcut):
                for raw in form.arguments.values() if form is not None else ():
                    found |= set(_WORD.findall(raw)) if isinstance(raw, str) else set()
    return frozenset(found)
