"""The static check of a definition: its names are known and free, its expressions have the types
that stand there, and its calls give what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from resnet_dsl.errors import Diagnostic, suggest
from resnet_dsl.ir.expr import Expr, ExprError, Name, TypeName, infer
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.language.definitions import BlockDef, Definition, Kind, ParameterDecl
from resnet_dsl.language.expression import locate, parse
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.misreadings import syntax_problem
from resnet_dsl.language.schema import STAGE_KEYS
from resnet_dsl.language.scope import BUILT_IN, SCOPES, SIDES, Path, Types, expressions, sides
from resnet_dsl.language.source import Source
from resnet_dsl.language.tokens import ExpressionSyntaxError

_OF_OUT = ("out", "transition")


def check_definition(
    kind: Kind, definition: Definition, source: Source, path: Path
) -> list[Diagnostic]:
    """What is wrong with a definition's names and expressions: each name is known, and none taken;
    each expression has the type that stands there."""
    found = list(_taken(kind, definition, source, path))
    types: dict[str, TypeName] = dict(SCOPES[kind])
    types |= {name: declared.type for name, declared in definition.parameters.items()}
    before_let = dict(types)
    for name, tree in definition.let.items():
        problem = expression_problem(tree, types, None, source, (*path, "let", name))
        if problem is not None:
            found.append(problem)
        types[name] = "int" if problem is not None else infer(tree, types)
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
    tree: Expr, types: Types, wanted: TypeName | None, source: Source, path: Path
) -> Diagnostic | None:
    """What is wrong with an expression that stands at `path`: a name, or a type."""
    while path and path not in source.positions:  # one value may stand for a pair
        path = path[:-1]
    part: Expr | None = None
    why: str | None = None
    unknown = sorted(names_of(tree) - set(types))
    if unknown:
        known = ", ".join(sorted(types))
        part = Name(unknown[0])
        code, message = "RD302", f"there is no `{unknown[0]}` here"
        why = f"the names known here are {known}" if known else "no name is known here"
        hint: str | None = suggest(unknown[0], types) or "declare it under `parameters:` or `let:`"
    else:
        try:
            type_ = infer(tree, types)
        except ExprError as error:
            code, message, part, hint = "RD303", error.message, error.expression, error.hint
        else:
            if wanted is None or type_ == wanted or (wanted == "float" and type_ == "int"):
                return None
            code = "RD303"
            message = f"this must be of type {wanted}, and is of type {type_}"
            hint = None
            if (wanted, type_) == ("int", "float"):
                hint = "write `a // b` for a whole quotient, or `int(a)`"
    text = source.text(path)
    span = None if part is None or text is None else locate(text, part)
    if span is None:
        return source.diagnostic(code, message, path, why=why, hint=hint)
    return source.diagnostic(
        code, message, path, why=why, hint=hint, offset=span.offset, length=span.length
    )


def argument_problems(
    kind: Kind,
    form: CallForm,
    declared: Mapping[str, ParameterDecl],
    types: Types,
    source: Source,
    path: Path,
) -> Iterator[Diagnostic]:
    """What is wrong with the arguments of a call in a body."""
    builtin = BUILT_IN if kind == "block" else ()
    known = [*declared, *builtin]
    for name, raw in form.arguments.items():
        where = (*path, name)
        if name not in known:
            hint = suggest(name, known) or (
                f"its parameters: {', '.join(known)}" if known else None
            )
            message = f"the {kind} `{form.name}` has no parameter `{name[:60]}`"
            yield source.diagnostic("RD203", message, where, key=True, hint=hint)
            continue
        parameter = declared.get(name) or ParameterDecl(type="int", minimum=1)
        if isinstance(raw, str) and parameter.type != "str":
            try:
                tree = parse(raw)
            except ExpressionSyntaxError as error:
                yield syntax_problem(error, source, where)
                continue
            problem = expression_problem(tree, types, parameter.type, source, where)
            if problem is not None:
                yield problem
        elif not (isinstance(raw, str) and types.get(raw) == "str"):
            refusal = parameter.refusal(raw)
            if refusal is not None:
                message = f"`{name}` {refusal.message}"
                yield source.diagnostic(refusal.code, message, where, hint=refusal.hint)
    for name, parameter in declared.items():
        if parameter.default is None and name not in form.arguments:
            yield missing_argument(kind, form.name, name, parameter, source, path)


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
