"""The static check of a definition: its names are known and free, its expressions have the types
that stand there, and its calls give what is asked for.

A definition may be whole in part only (`parts`): what was refused is passed over, and so is what
could be wrong only because of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from resnet_dsl.errors import Diagnostic, suggest
from resnet_dsl.ir.expr import Expr, ExprError, Name, TypeName, infer
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.language.definitions import BlockDef, Definition, Kind, ParameterDecl
from resnet_dsl.language.expression import locate, parse
from resnet_dsl.language.misreadings import syntax_problem
from resnet_dsl.language.parts import UNREAD, refused
from resnet_dsl.language.schema import MAX_CHANNELS, STAGE_KEYS
from resnet_dsl.language.scope import (
    SCOPES,
    SIDES,
    Path,
    Types,
    all_types,
    expressions,
    known_types,
    sides,
)
from resnet_dsl.language.source import Source
from resnet_dsl.language.tokens import ExpressionSyntaxError

_OF_OUT = ("out", "transition")

COUNT = ParameterDecl(type="int", minimum=1, maximum=MAX_CHANNELS)
"""What a body gives to a block as `width`, `stride` or `dilation`."""


def check_definition(
    kind: Kind, definition: Definition, source: Source, path: Path
) -> list[Diagnostic]:
    """What is wrong with a definition's names and expressions: each name is known, and none taken;
    each expression has the type that stands there."""
    types = all_types(kind, definition)
    if types is None:
        return []
    found = list(_taken(kind, definition, source, path))
    before_let = {name: types[name] for name in (*SCOPES[kind], *definition.parameters)}
    before = dict(before_let)
    for name, tree in definition.let.items():
        problem = expression_problem(tree, before, None, source, (*path, "let", name))
        found += [problem] if problem is not None else []
        before[name] = types[name]
    if isinstance(definition, BlockDef) and definition.out is not None:
        known = {key: type_ for key, type_ in before_let.items() if key not in _OF_OUT}
        problem = expression_problem(definition.out, known, "int", source, (*path, "out"))
        if problem is not None and names_of(definition.out) & {*definition.let}:
            problem = replace(problem, hint="`out` is worked out before `let`: write it out here")
        found += [problem] if problem is not None else []
    for tree, where, wanted, scope in expressions(definition, types, path):
        problem = expression_problem(tree, scope, wanted, source, where)
        found += [problem] if problem is not None else []
    for side, where in sides(definition, path):
        if side not in SIDES and types.get(side) != "str":
            found.append(
                source.diagnostic(
                    "RD103",
                    f"`{side[:60]}` is neither symmetric nor trailing, nor a parameter of type str",
                    where,
                    hint=suggest(side, [*SIDES, *definition.parameters]),
                )
            )
    return found


def _taken(kind: Kind, definition: Definition, source: Source, path: Path) -> Iterator[Diagnostic]:
    """Parameters and lets that hide a name, or that a stage could not give."""
    reasons = {name: f"every {kind} has a `{name}`" for name in SCOPES[kind]}
    reasons["i"] = "`i` counts the rounds of a `repeat`"
    if kind == "block":
        for name in STAGE_KEYS:
            reasons.setdefault(name, f"a stage has a key `{name}`")
    for section, given in (("parameters", definition.parameters), ("let", definition.let)):
        for name in given:
            if name in reasons:
                yield source.diagnostic(
                    "RD108",
                    f"`{name}` is a name that is taken",
                    (*path, section, name),
                    key=True,
                    why=reasons[name],
                    hint="choose another name",
                )
            reasons.setdefault(name, f"`{name}` is a parameter")


def expression_problem(
    tree: Expr, types: Types | None, wanted: TypeName | None, source: Source, path: Path
) -> Diagnostic | None:
    """What is wrong with an expression that stands at `path`: a name, or a type."""
    if types is None or tree == UNREAD:
        return None
    while path and path not in source.positions:  # one value may stand for a pair
        path = path[:-1]
    unknown = unknown_in(tree, types, source, path, declares="in" in types)
    if unknown is not None:
        return unknown
    known = known_types(types)
    if not names_of(tree) <= set(known):
        return None
    part: Expr | None = None
    try:
        type_ = infer(tree, known)
    except ExprError as error:
        message, part, hint = error.message, error.expression, error.hint
    else:
        if wanted is None or type_ == wanted or (wanted == "float" and type_ == "int"):
            return None
        message = f"this must be of type {wanted}, and is of type {type_}"
        hint = None
        if (wanted, type_) == ("int", "float"):
            hint = "write `a // b` for a whole quotient, or `int(a)`"
    return _of_part("RD303", message, part, source, path, None, hint)


def unknown_in(
    tree: Expr, known: Collection[str], source: Source, path: Path, *, declares: bool
) -> Diagnostic | None:
    """The first name of an expression that is not known where it stands; `declares` says that it
    stands in a definition, which can have more names."""
    unknown = sorted(names_of(tree) - set(known))
    if not unknown:
        return None
    why, hint = "no name is known here", "write the value itself"
    if known:
        listed = sorted(known)
        why = f"the names known here are {', '.join(listed)}"
        hint = f"write the value itself, or work it out from {_either(listed)}"
    if declares:
        hint = "declare it under `parameters:` or `let:`"
    hint = suggest(unknown[0], known) or hint
    message = f"there is no `{unknown[0]}` here"
    return _of_part("RD302", message, Name(unknown[0]), source, path, why, hint)


def _either(words: Sequence[str]) -> str:
    shown = [f"`{word}`" for word in words]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _of_part(
    code: str,
    message: str,
    part: Expr | None,
    source: Source,
    path: Path,
    why: str | None,
    hint: str | None,
) -> Diagnostic:
    """A finding about a part of the expression at `path`, or about all of it."""
    text = source.text(path)
    span = None if part is None or text is None else locate(text, part)
    if span is None:
        return source.diagnostic(code, message, path, why=why, hint=hint)
    return source.diagnostic(
        code, message, path, why=why, hint=hint, offset=span.offset, length=span.length
    )


def unknown_parameters(
    kind: Kind,
    called: str,
    known: Collection[str],
    given: Iterable[str],
    source: Source,
    path: Path,
    meant: Iterable[str] = (),
) -> Iterator[Diagnostic]:
    """The arguments, given at `path`, that a definition does not take; `meant` are other keys that
    stand there."""
    for name in given:
        if name not in known:
            listed = f"its parameters: {', '.join(known)}" if known else "it has none"
            yield source.diagnostic(
                "RD203",
                f"the {kind} `{called}` has no parameter `{name[:60]}`",
                (*path, name),
                key=True,
                hint=suggest(name, [*known, *meant]) or listed,
            )


def argument_problem(
    name: str,
    raw: Any,
    declared: ParameterDecl,
    types: Types | None,
    wanted: TypeName | None,
    source: Source,
    path: Path,
) -> Iterator[Diagnostic]:
    """What is wrong with one argument, before its value is known; `wanted` is the type that an
    expression must have."""
    if refused(declared.type):
        return
    if isinstance(raw, str) and declared.type != "str":
        try:
            tree = parse(raw)
        except ExpressionSyntaxError as error:
            yield syntax_problem(error, source, path)
            return
        problem = expression_problem(tree, types, wanted, source, path)
        yield from [problem] if problem is not None else []
    elif not isinstance(raw, bool | int | float | str):
        yield source.diagnostic("RD105", no_value(raw, declared), path)
    elif not (isinstance(raw, str) and (types is None or types.get(raw, "int") in (None, "str"))):
        refusal = declared.refusal(raw)
        if refusal is not None:
            message = refusal.of(name, raw)
            why = declared.doc or None
            yield source.diagnostic(refusal.code, message, path, why=why, hint=refusal.hint)


def no_value(raw: object, declared: ParameterDecl) -> str:
    """What to say of an argument that is no number, truth or text."""
    what = "a list" if isinstance(raw, list) else "nothing" if raw is None else "a mapping"
    return f"expected a value of type {declared.type}, not {what}"


def missing_argument(
    kind: Kind, called: str, name: str, declared: ParameterDecl, source: Source, path: Path
) -> Diagnostic:
    """A call at `path` does not give a parameter that has no default."""
    return source.diagnostic(
        "RD204",
        f"the {kind} `{called}` needs `{name}`",
        path,
        key=True,
        hint=f"add `{name}: …`" + (f" ({declared.doc})" if declared.doc else ""),
    )
