"""The small types that the schema is made of: expressions, names, and calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.ir.expr import EXPR_TYPES, literal
from resnet_dsl.ir.expr import Expr as Tree
from resnet_dsl.language.expression import ExpressionSyntaxError, parse

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RECIPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

Scalar: TypeAlias = int | float | bool | str


class Model(BaseModel):
    """Every section of the language: frozen, nothing coerced, nothing unknown let through."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )


def _expression(value: object) -> object:
    if isinstance(value, bool | int | float):
        return literal(value)
    if isinstance(value, str):
        try:
            return parse(value)
        except ExpressionSyntaxError as error:
            raise PydanticCustomError(
                "expression",
                "{problem}",
                {
                    "problem": error.message,
                    "offset": error.offset,
                    "length": error.length,
                    "hint": error.hint,
                },
            ) from None
    if isinstance(value, EXPR_TYPES):
        return value
    raise PydanticCustomError("expression_type", "expected a number or an expression", {})


def _pair(value: object) -> object:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise PydanticCustomError("pair", "expected one value, or two: [height, width]", {})
        return tuple(_expression(item) for item in value)
    tree = _expression(value)
    return (tree, tree)


def _identifier(value: object) -> object:
    if isinstance(value, str) and not IDENTIFIER.fullmatch(value):
        raise PydanticCustomError(
            "identifier",
            "`{name}` is no identifier",
            {"name": value[:80]},
        )
    return value


if TYPE_CHECKING:
    Expr: TypeAlias = Tree
    Pair: TypeAlias = tuple[Tree, Tree]
else:
    # Pydantic would build a schema of the tree's classes; the validators have made sure already.
    Expr = Annotated[Any, BeforeValidator(_expression)]
    """An expression; a number stands for itself."""

    Pair = Annotated[Any, BeforeValidator(_pair)]
    """(height, width); one value stands for both."""

Identifier = Annotated[str, BeforeValidator(_identifier)]


def _as_call(value: object) -> object:
    """`name` and `{name: {parameter: value}}` are the two spellings of a call."""
    if isinstance(value, str):
        return {"name": value, "arguments": {}}
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise PydanticCustomError(
                "call",
                "expected `name`, or `name: {{parameter: value}}` with one name, not {count} keys",
                {"count": len(value)},
            )
        ((name, arguments),) = value.items()
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, Mapping):
            raise PydanticCustomError(
                "call_arguments",
                "the arguments of `{name}` are a mapping of parameters to values",
                {"name": str(name)[:80]},
            )
        return {"name": name, "arguments": dict(arguments)}
    return value


class CallForm(Model):
    """A name from the library or the spec, with its arguments: `B`, or `A: {padding: trailing}`."""

    name: str
    arguments: dict[str, Any] = {}

    @classmethod
    def of(cls, name: str) -> CallForm:
        """A call without arguments."""
        return cls.model_construct(name=name, arguments={})

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        if isinstance(value, CallForm):
            return value
        if isinstance(value, str | Mapping):
            return _as_call(value)
        raise PydanticCustomError("call", "expected a name, or a name with its parameters", {})
