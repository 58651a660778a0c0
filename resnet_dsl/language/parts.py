"""What is whole of a section that the schema refuses, so that the rest of it is checked all the same.

A part that is refused is None, an expression that is refused is `UNREAD`, and an entry of a list that is
refused keeps its place. Where a key is misspelt, the part that it seems to mean is refused with it, so that
nothing is concluded from its absence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from resnet_dsl.ir.expr import Expr, Name
from resnet_dsl.language import fields
from resnet_dsl.language.definitions import ParameterDecl
from resnet_dsl.language.synonyms import meant

M = TypeVar("M", bound=BaseModel)

UNREAD: Expr = Name("")
"""Stands for an expression that cannot be read."""

_READS_EXPRESSION: object = get_args(fields.Expr)[-1]


def refused(part: object) -> bool:
    """Whether a part that is never left out is missing, because the schema refuses it."""
    return part is None


def part(model: type[M], data: object) -> M:
    """As much of `data` as is whole, as a `model`."""
    try:
        return model.model_validate(data)
    except ValidationError:
        pass
    try:
        for validator in model.__pydantic_decorators__.model_validators.values():
            if validator.info.mode == "before":
                data = validator.func(data)
    except PydanticCustomError:
        data = _callee(data) if model is fields.CallForm else None
    if (
        not isinstance(data, Mapping) or model is ParameterDecl
    ):  # what it takes is not known in part
        return model.model_construct(**dict.fromkeys(model.model_fields))
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    values: dict[str, Any] = {}
    for key, name in names.items():
        if key in data:
            values[name] = _field(model, name, data[key])
        elif model.model_fields[name].is_required():
            values[name] = None
    for key in data:
        near = None if key in names else meant(str(key), names)
        if near is not None and near not in data:
            values[names[near]] = None
    return model.model_construct(**values)


def _callee(data: object) -> dict[str, object] | None:
    """A call whose arguments have not the form of arguments still says what it calls."""
    if isinstance(data, Mapping) and len(data) == 1:
        return {"name": next(iter(data)), "arguments": None}
    return None


@cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    return TypeAdapter(annotation)


def _field(model: type[BaseModel], name: str, data: Any) -> Any:
    try:
        return _adapter(model, name).validate_python(data, strict=True)
    except ValidationError:
        field = model.model_fields[name]
        return _value(field.annotation, data, field.metadata)


def _value(annotation: Any, data: Any, metadata: Sequence[object] = ()) -> Any:
    """A value of which something is refused: a list or a mapping with holes, a model in part, None."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _value(inner[0], data, (*inner[1:], *metadata))
    for item in metadata:
        if isinstance(item, BeforeValidator):
            try:
                data = item.func(data)  # type: ignore[call-arg]
            except PydanticCustomError:
                return UNREAD if item == _READS_EXPRESSION else None
    if annotation is Any:
        return data
    if kind is list and isinstance(data, list):
        return [_value(inner[0], entry) for entry in data]
    if kind is dict and isinstance(data, Mapping):
        return {str(key): _value(inner[1], entry) for key, entry in data.items()}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return part(annotation, data)
    for choice in inner if kind not in (list, dict, tuple) else ():
        model = _tagged(choice, data)
        if model is not None:
            return _value(model, data)
    return None


def _tagged(choice: Any, data: object) -> Any:
    """`choice`, a part of a union, if it may be what `data` is meant as."""
    if choice is type(None):
        return None
    if isinstance(choice, type) and issubclass(choice, BaseModel):
        tags = get_args(choice.model_fields["op"].annotation) if "op" in choice.model_fields else ()
        return (
            choice if not tags or (isinstance(data, Mapping) and data.get("op") in tags) else None
        )
    return choice
