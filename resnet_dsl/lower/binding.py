"""Arguments to parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.expr import Expr, Literal, Name, Value, literal
from resnet_dsl.language.checks import COUNT, missing_argument, no_value, unknown_in
from resnet_dsl.language.definitions import Definition, ParameterDecl
from resnet_dsl.language.expression import parse
from resnet_dsl.language.library import Located
from resnet_dsl.language.misreadings import syntax_problem
from resnet_dsl.language.tokens import ExpressionSyntaxError
from resnet_dsl.lower.place import Place, RefusalError, Scope


def argument(raw: Any, declared: ParameterDecl, scope: Scope, place: Place) -> Expr:
    """A given argument as an expression over the caller's names. Raises RefusalError."""
    if isinstance(raw, bool | int | float):
        return Literal(raw)
    if not isinstance(raw, str):
        raise place.error("RD105", no_value(raw, declared))
    if declared.type == "str":
        # A name of the caller's that holds text stands for it; any other word stands for itself.
        named = raw in scope.env or raw in scope.symbols
        is_text = named and isinstance(scope.value(Name(raw), place), str)
        return Name(raw) if is_text else literal(raw)
    try:
        tree = parse(raw)
    except ExpressionSyntaxError as error:
        raise RefusalError(syntax_problem(error, place.source, place.path)) from None
    known = {*scope.env, *scope.symbols}
    unknown = unknown_in(tree, known, place.source, place.path, declares="in" in known)
    if unknown is not None:
        raise RefusalError(unknown)
    return tree


def bound(
    raw: Any, name: str, declared: ParameterDecl, scope: Scope, place: Place
) -> tuple[Expr, Value]:
    """An argument as an expression over the caller's free names, and its value at this call.
    Raises RefusalError where the parameter does not take it."""
    tree = argument(raw, declared, scope, place)
    value = tree.value if isinstance(tree, Literal) else scope.value(tree, place)
    refusal = declared.refusal(value)
    if refusal is not None:
        raise place.error(
            refusal.code,
            refusal.of(name, value),
            why=declared.doc or None,
            hint=refusal.hint,
            reads=scope.reads(tree),
        )
    tree = scope.symbolic(tree, place)
    if declared.type == "float":
        value = float(value)
        tree = literal(value) if isinstance(tree, Literal) else tree
    return tree, value


def built_in(name: str, raw: Any, scope: Scope, place: Place) -> tuple[Expr, int]:
    """A `width`, `stride` or `dilation` that a body gives to a block."""
    tree, value = bound(raw, name, COUNT, scope, place)
    assert isinstance(value, int)
    return tree, value


def bind(
    located: Located[Definition],
    given: Mapping[str, Any],
    places: Mapping[str, Place],
    scope: Scope,
    place: Place,
) -> dict[str, tuple[Expr, Value]]:
    """Every declared parameter with its expression in the caller's scope and its value. Raises
    CompileError with every finding."""
    result: dict[str, tuple[Expr, Value]] = {}
    found: list[Diagnostic] = []
    for name, declared in located.definition.parameters.items():
        if name in given:
            where = places.get(name) or place.at(name)
            try:
                result[name] = bound(given[name], name, declared, scope, where)
            except CompileError as error:
                found += error.diagnostics
        elif declared.default is not None:
            default = float(declared.default) if declared.type == "float" else declared.default
            result[name] = (literal(default), default)
        else:
            kind, called = located.kind, located.name
            found.append(missing_argument(kind, called, name, declared, place.source, place.path))
    if found:
        raise CompileError(found)
    return result
