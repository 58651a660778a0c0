"""Which names an expression may use, and the static check of a definition's expressions.

Every definition knows its own parameters and lets. Besides them a block knows `in` and `out`
(channels), `width`, `stride`, `dilation`, its place (`index` of `depth` in its stage, `number` of
`blocks` in the network, `first`, `last`) and `transition` (shapes differ between its ends); a shortcut
knows `in`, `out`, `stride` and `transition`; a stem `in`; a head `in` and `classes`. A `repeat` adds
`i`, counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.ir.expr import Expr, ExprError, TypeName, infer
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.language.body import (
    AdaptiveArgs,
    Body,
    ConvArgs,
    Item,
    LinearArgs,
    Operation,
    PadChannelsArgs,
    PoolArgs,
    RateArgs,
    SubsampleArgs,
)
from resnet_dsl.language.definitions import BlockDef, Definition, Kind, ShortcutDef
from resnet_dsl.language.source import Source

Path = tuple[str | int, ...]
Types = Mapping[str, TypeName]
Checked = tuple[Expr, Path, TypeName, Types]

STAGE: Types = {"index": "int", "depth": "int", "number": "int", "blocks": "int"}
"""What a stage's `width` and block parameters may depend on."""

SCOPES: Mapping[Kind, Types] = {
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


def check_definition(kind: Kind, definition: Definition, source: Source, path: Path) -> None:
    """Every expression of a definition uses known names at the right types, or CompileError."""
    found: list[Diagnostic] = []
    types: dict[str, TypeName] = dict(SCOPES[kind])
    for name, declared in definition.parameters.items():
        if name in types or name == "i":
            found.append(
                source.diagnostic(
                    "RD108",
                    f"`{name}` is a name that every {kind} has, so it cannot be a parameter",
                    (*path, "parameters", name),
                    key=True,
                )
            )
        types[name] = declared.type
    known = dict(types)
    for name, tree in definition.let.items():
        where = (*path, "let", name)
        problem = _problem(tree, types, None, source, where)
        if problem is not None:
            found.append(problem)
            types[name] = "int"
        else:
            types[name] = infer(tree, types)
    if isinstance(definition, BlockDef) and definition.out is not None:
        scope = {name: type_ for name, type_ in known.items() if name not in ("out", "transition")}
        problem = _problem(definition.out, scope, "int", source, (*path, "out"))
        if problem is not None:
            found.append(problem)
    for tree, where, wanted, scope in _expressions(definition, types, path):
        problem = _problem(tree, scope, wanted, source, where)
        if problem is not None:
            found.append(problem)
    for side, where in _sides(definition, path):
        if side not in SIDES and types.get(side) != "str":
            found.append(
                source.diagnostic(
                    "RD103",
                    f"`{side[:60]}` is neither symmetric nor trailing, nor a parameter of type str",
                    where,
                    hint=suggest(side, [*SIDES, *definition.parameters]),
                )
            )
    if found:
        raise CompileError(found)


def _problem(
    tree: Expr, types: Types, wanted: TypeName | None, source: Source, path: Path
) -> Diagnostic | None:
    unknown = sorted(names_of(tree) - set(types))
    if unknown:
        known = ", ".join(sorted(types))
        return source.diagnostic(
            "RD302",
            f"there is no `{unknown[0]}` here",
            path,
            why=f"the names known here are {known}" if known else "no name is known here",
            hint=suggest(unknown[0], types) or "declare it under `parameters:` or `let:`",
        )
    try:
        type_ = infer(tree, types)
    except ExprError as error:
        return source.diagnostic("RD303", str(error), path)
    if wanted is None or type_ == wanted or (wanted == "float" and type_ == "int"):
        return None
    hint = "write `a // b` for a whole quotient" if (wanted, type_) == ("int", "float") else None
    return source.diagnostic(
        "RD303", f"this must be of type {wanted}, and is of type {type_}", path, hint=hint
    )


def _bodies(definition: Definition, path: Path) -> Iterator[tuple[Body, Path]]:
    if isinstance(definition, BlockDef):
        for field in ("before", "body", "residual", "gate", "after"):
            body = getattr(definition, field)
            if body is not None:
                yield body, (*path, field)
        for index, branch in enumerate(definition.branches or ()):
            yield branch, (*path, "branches", index)
    else:
        yield definition.body, (*path, "body")
        if isinstance(definition, ShortcutDef) and definition.gate is not None:
            yield definition.gate, (*path, "gate")


def _items(body: Body, path: Path, types: Types) -> Iterator[tuple[Item, Path, Types]]:
    """Every item of a body and of the bodies in it; depth is bounded by the reader's limit."""
    for index, item in enumerate(body):
        where = (*path, index)
        yield item, where, types
        inner = {**types, "i": "int"} if item.repeat is not None else types
        for field in ("residual", "gate", "after", "body", "sequence"):
            nested: Body | None = getattr(item, field)
            if nested:
                yield from _items(nested, (*where, field), inner)  # type: ignore[arg-type]
        for number, branch in enumerate(item.branches or ()):
            yield from _items(branch, (*where, "branches", number), types)


def _expressions(definition: Definition, types: Types, path: Path) -> Iterator[Checked]:
    for body, where in _bodies(definition, path):
        for item, place, scope in _items(body, where, types):
            if item.when is not None:
                yield item.when, (*place, "when"), "bool", scope
            if item.repeat is not None:
                yield item.repeat, (*place, "repeat"), "int", scope
            if item.operation is not None:
                for name, tree, wanted in _arguments(item.operation):
                    yield tree, (*place, item.operation.op, name), wanted, scope


def _arguments(operation: Operation) -> Iterator[tuple[str, Expr, TypeName]]:
    """The expressions among an operation's arguments."""
    match operation:
        case ConvArgs():
            for name in ("out", "groups"):
                tree = getattr(operation, name)
                if tree is not None:
                    yield name, tree, "int"
            for name in ("kernel", "stride", "padding", "dilation"):
                for tree in getattr(operation, name) or ():
                    yield name, tree, "int"
            if operation.bias is not None:
                yield "bias", operation.bias, "bool"
            if operation.bias_fill is not None:
                yield "bias_fill", operation.bias_fill, "float"
        case LinearArgs():
            yield "out", operation.out, "int"
            if operation.bias is not None:
                yield "bias", operation.bias, "bool"
            if operation.bias_fill is not None:
                yield "bias_fill", operation.bias_fill, "float"
        case PoolArgs():
            for name in ("kernel", "stride", "padding"):
                for tree in getattr(operation, name) or ():
                    yield name, tree, "int"
        case AdaptiveArgs():
            for tree in operation.size:
                yield "size", tree, "int"
        case RateArgs():
            yield "rate", operation.rate, "float"
        case SubsampleArgs():
            yield "stride", operation.stride, "int"
        case PadChannelsArgs():
            yield "out", operation.out, "int"
        case _:
            return


def _sides(definition: Definition, path: Path) -> Iterator[tuple[str, Path]]:
    for body, where in _bodies(definition, path):
        for item, place, _ in _items(body, where, {}):
            if isinstance(item.operation, PadChannelsArgs):
                yield item.operation.side, (*place, "pad_channels", "side")


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def names_read(definition: Definition) -> frozenset[str]:
    """The names that a definition's expressions read, the arguments of its calls included."""
    found: set[str] = set()
    for tree in definition.let.values():
        found |= names_of(tree)
    if isinstance(definition, BlockDef) and definition.out is not None:
        found |= names_of(definition.out)
    for tree, _, _, _ in _expressions(definition, {}, ()):
        found |= names_of(tree)
    for body, where in _bodies(definition, ()):
        for item, _, _ in _items(body, where, {}):
            for form in (item.call, item.shortcut):
                for raw in form.arguments.values() if form is not None else ():
                    found |= set(_WORD.findall(raw)) if isinstance(raw, str) else set()
    return frozenset(found)
