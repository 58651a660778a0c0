"""Definitions: blocks, shortcuts, stems and heads, written in the language itself.

A library file holds one definition, headed by its kind and name (`block: bottleneck`); in a spec
the same text stands under `blocks:`, `shortcuts:`, `stems:` or `heads:`, keyed by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.errors import suggest
from resnet_dsl.language.body import (
    FORMS,
    MODIFIERS,
    OPERATIONS,
    Body,
    Join,
    check_branches,
    check_residual,
)
from resnet_dsl.language.fields import (
    CallForm,
    Expr,
    Identifier,
    Model,
    ParameterName,
    Scalar,
    free,
)

Kind: TypeAlias = Literal["block", "shortcut", "stem", "head"]
ParameterType: TypeAlias = Literal["int", "float", "bool", "str"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a value is refused: a code, what follows the value in a sentence, and perhaps a hint."""

    code: str
    message: str
    hint: str | None = None

    def of(self, name: str, value: object) -> str:
        """The sentence about a parameter and the value that is given to it."""
        shown = str(value).lower() if isinstance(value, bool) else value
        return f"`{name}: {shown}` {self.message}"


class ParameterDecl(Model):
    """A parameter: `expansion: 4` gives type and default at once; the long form can bound it."""

    type: ParameterType
    default: Scalar | None = None
    choices: list[Scalar] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    doc: str = ""

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        if isinstance(value, bool | int | float | str):
            return {"type": type(value).__name__, "default": value}
        if isinstance(value, Mapping) and "type" not in value:
            default = value.get("default")
            if isinstance(default, bool | int | float | str):
                return {"type": type(default).__name__, **value}
            raise PydanticCustomError(
                "parameter", "a parameter without a default needs a `type`", {}
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ParameterDecl:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise PydanticCustomError("bounds", "`minimum` is more than `maximum`", {})
        for choice in self.choices or ():
            if not self._is_of_type(choice):
                raise PydanticCustomError(
                    "choices",
                    "the choice {choice} is no {type}",
                    {"choice": choice, "type": self.type},
                )
        if self.default is not None and (refusal := self.refusal(self.default)):
            raise PydanticCustomError("default", "the default {why}", {"why": refusal.message})
        return self

    def refusal(self, value: object) -> Refusal | None:
        """Why `value` may not be given to this parameter; None where it may."""
        if not self._is_of_type(value):
            return Refusal("RD105", f"is no {self.type}")
        if self.choices is not None and value not in self.choices:
            choices = [str(choice) for choice in self.choices]
            listed = ", ".join(choices)
            hint = suggest(value, choices) if isinstance(value, str) else None
            return Refusal("RD103", f"is none of {listed}", hint)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                return Refusal("RD106", f"is less than {self.minimum}")
            if self.maximum is not None and value > self.maximum:
                return Refusal("RD106", f"is more than {self.maximum}")
        return None

    def _is_of_type(self, value: object) -> bool:
        match self.type:
            case "int":
                return isinstance(value, int) and not isinstance(value, bool)
            case "float":
                return isinstance(value, int | float) and not isinstance(value, bool)
            case "bool":
                return isinstance(value, bool)
            case "str":
                return isinstance(value, str)


Parameters: TypeAlias = dict[ParameterName, ParameterDecl]


class _Definition(Model):
    doc: str = ""
    emit_as: Annotated[
        Identifier | None, Field(alias="as", description="its name in emitted code")
    ] = None
    parameters: Parameters = {}
    let: dict[ParameterName, Expr] = {}


class BlockDef(_Definition):
    """A block: a body, or a residual body with its shortcut, or branches, and how they join."""

    out: Expr | None = None
    before: Body = []
    body: Body | None = None
    residual: Body | None = None
    branches: Annotated[list[Body], Field(min_length=2)] | None = None
    shortcut: CallForm | None = None
    join: Join | None = None
    gate: Body | None = None
    after: Body = []

    @model_validator(mode="after")
    def _one_form(self) -> BlockDef:
        forms = [self.body, self.residual, self.branches]
        if sum(form is not None for form in forms) != 1:
            raise PydanticCustomError(
                "block_form", "a block has exactly one of `residual`, `body` and `branches`", {}
            )
        if self.residual is not None:
            check_residual(self.join, self.gate is not None, self.shortcut is not None)
            return self
        if self.shortcut is not None or self.gate is not None:
            raise PydanticCustomError(
                "block_form", "`shortcut` and `gate` belong to a `residual`", {}
            )
        if self.body is not None and self.join is not None:
            raise PydanticCustomError(
                "block_form", "`join` belongs to a `residual` and to `branches`", {}
            )
        check_branches(self.join)
        return self


class ShortcutDef(_Definition):
    """A shortcut: the path around a residual. An empty body is the identity. A `join` of its own
    takes the place of a block's `add`, everywhere or `when` a condition holds: `none` makes the
    network plain, `gate` a highway."""

    body: Body = []
    join: Join | None = None
    when: Expr | None = None
    gate: Body | None = None

    @model_validator(mode="after")
    def _gated(self) -> ShortcutDef:
        if (self.join == "gate") != (self.gate is not None):
            raise PydanticCustomError("missing_gate", "`join: gate` and `gate` go together", {})
        if self.when is not None and self.join is None:
            raise PydanticCustomError("missing_join", "`when` is the condition of a `join`", {})
        if self.join == "none" and self.body and self.when is None:
            raise PydanticCustomError(
                "shortcut_unused", "`join: none` has no shortcut, so `body` has no use", {}
            )
        return self


class StemDef(_Definition):
    """What stands before the first stage."""

    body: Body


class HeadDef(_Definition):
    """What stands after the last stage; it knows `classes`."""

    body: Body


def _verb(name: str) -> str | None:
    if name in OPERATIONS:
        return f"`{name}` is an operation, and no body could call a block of that name"
    if name in FORMS | MODIFIERS:
        return f"`{name}` is a word of bodies, and none could call a block of that name"
    return None


BlockName: TypeAlias = Annotated[str, free(_verb)]
"""The name of a block; bodies call it as they call an operation."""

Definition: TypeAlias = BlockDef | ShortcutDef | StemDef | HeadDef
MODELS: dict[Kind, type[Definition]] = {
    "block": BlockDef,
    "shortcut": ShortcutDef,
    "stem": StemDef,
    "head": HeadDef,
}


def header_free(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """The definition in a library file, without its heading line."""
    return {key: value for key, value in data.items() if key != kind}
