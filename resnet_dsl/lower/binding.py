"""Arguments to parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_dsl.errors import suggest
from resnet_dsl.ir.expr import Expr, ExprError, Literal, Name, Value, evaluate, literal
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.language.definitions import Definition, ParameterDecl
from resnet_dsl.language.expression import ExpressionSyntaxError, parse
from resnet_dsl.language.library import Located
from resnet_dsl.lower.frame import Place, Scope


def argument(raw: Any, declared: ParameterDecl, scope: Scope, place: Place) -> Expr:
    """A given argument as an expression over the caller's free names."""
    if isinstance(raw, bool | int | float):
        return literal(raw)
    if not isinstance(raw, str):
        raise place.error("RD105", f"expected a value of type {declared.type}")
    if declared.type == "str":
        tree: Expr = Name(raw)
        in_scope = raw in scope.env or raw in scope.symbols
        return scope.symbolic(tree) if in_scope else literal(raw)
    try:
        return scope.symbolic(parse(raw))
    except ExpressionSyntaxError as error:
        raise place.error("RD301", error.message, hint=error.hint) from None


def checked(tree: Expr, name: str, declared: ParameterDecl, scope: Scope, place: Place) -> Value:
    """The value of an argument at this call, refused where the parameter does not take it."""
    if isinstance(tree, Literal):
        value: Value = tree.value
    else:
        unknown = sorted(names_of(tree) - set(scope.env))
        if unknown:
            raise place.error(
                "RD302",
                f"there is no `{unknown[0]}` here",
                hint=suggest(unknown[0], scope.env),
            )
        try:
            value = evaluate(tree, scope.env)
        except ExprError as error:
            raise place.error("RD304", f"this has no value here: {error}") from None
    refusal = declared.refusal(value)
    if refusal is not None:
        raise place.error("RD106", f"`{name}: {value}` {refusal}", hint=declared.doc or None)
    return value


def unknown_parameters(
    located: Located[Definition], given: Mapping[str, Any], also: tuple[str, ...], place: Place
) -> None:
    """Refuse arguments that the definition does not declare."""
    known = [*located.definition.parameters, *also]
    for name in given:
        if name not in known:
            listed = ", ".join(known)
            raise place.at(name).error(
                "RD203",
                f"the {located.kind} `{located.name}` has no parameter `{name[:60]}`",
                key=True,
                hint=suggest(name, known)
                or (f"its parameters: {listed}" if listed else "it has none"),
            )


def bind(
    located: Located[Definition],
    given: Mapping[str, Any],
    places: Mapping[str, Place],
    scope: Scope,
    place: Place,
) -> dict[str, tuple[Expr, Value]]:
    """Every declared parameter with its expression in the caller's scope and its value."""
    bound: dict[str, tuple[Expr, Value]] = {}
    for name, declared in located.definition.parameters.items():
        if name in given:
            where = places.get(name) or place.at(name)
            tree = argument(given[name], declared, scope, where)
            value = checked(tree, name, declared, scope, where)
            if declared.type == "float" and isinstance(tree, Literal):
                value, tree = float(value), literal(float(value))
            bound[name] = (tree, value)
        elif declared.default is not None:
            default = float(declared.default) if declared.type == "float" else declared.default
            bound[name] = (literal(default), default)
        else:
            raise place.error(
                "RD204",
                f"the {located.kind} `{located.name}` needs `{name}`",
                key=True,
                hint=f"add `{name}: …`" + (f" ({declared.doc})" if declared.doc else ""),
            )
    return bound
