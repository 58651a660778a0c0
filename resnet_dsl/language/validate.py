"""From Pydantic's findings to diagnostics that point into the text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.language.source import Source

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_RANGE = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "too_short",
    "too_long",
}
_WORDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "tuple_type": "a list of two",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def validate(model: type[M], data: object, source: Source, path: Path = ()) -> M:
    """`data`, found at `path` of `source`, as a `model`. Raises CompileError with every finding."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [
            _diagnostic(model, dict(item), source, path) for item in error.errors(include_url=False)
        ]
        raise CompileError(_distinct(found)) from None


def _distinct(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    return list(dict.fromkeys(found))


def _real_path(source: Source, base: Path, loc: tuple[int | str, ...]) -> tuple[Path, bool]:
    """The part of Pydantic's location that exists in the text (its own tags and the names of
    fields that the language spells otherwise drop out), and whether its last step does."""
    here: Any = source.data
    for step in base:
        here = here[step]
    path = base
    whole = True
    for step in loc:
        if (isinstance(here, Mapping) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here, path, whole = here[step], (*path, step), True
        else:
            whole = False
    return path, whole


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at `loc` knows, for suggestions."""
    current: Any = model
    for step in loc[:-1]:
        current = _step(current, step)
        if current is None:
            return []
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def _step(annotation: Any, step: int | str) -> Any:
    """The model that `step` leads to from `annotation`, looking through unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if step in (name, field.alias):
                return field.annotation
        return None
    for part in getattr(annotation, "__args__", ()):
        if isinstance(part, type) and issubclass(part, BaseModel):
            tags = {
                value
                for field in part.model_fields.values()
                for value in getattr(field.annotation, "__args__", ())
                if isinstance(value, str)
            }
            if step in tags or isinstance(step, int) or not tags:
                return part
            found = _step(part, step)
            if found is not None:
                return found
        else:
            found = _step(part, step)
            if found is not None:
                return found
    return None


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    return f"`{str(value)[:60]}`"


def _diagnostic(
    model: type[BaseModel], item: dict[str, Any], source: Source, base: Path
) -> Diagnostic:
    kind: str = item["type"]
    loc: tuple[int | str, ...] = item["loc"]
    context: dict[str, Any] = item.get("ctx") or {}
    path, whole = _real_path(source, base, loc)
    name = str(loc[-1]) if loc else ""
    message: str = item["msg"]
    if kind == "extra_forbidden":
        fields = [field for field in _fields(model, loc) if field != "op"]
        hint = suggest(name, fields)
        if hint is None and fields:
            hint = f"known here: {', '.join(fields)}"
        return source.diagnostic("RD101", f"unknown key `{name[:60]}`", path, key=True, hint=hint)
    if kind == "missing":
        return source.diagnostic("RD102", f"`{name}` is missing", path, hint=f"add `{name}: …`")
    if kind == "expression":
        return source.diagnostic(
            "RD301",
            context["problem"],
            path,
            hint=context.get("hint"),
            offset=int(context.get("offset") or 0),
            length=int(context.get("length") or 1),
        )
    if kind == "identifier":
        return source.diagnostic(
            "RD104",
            message,
            path,
            key=loc[-1:] == ("[key]",),
            why="names become Python identifiers, module paths and file names",
            hint="use letters, digits and underscores, a letter first, at most 64",
        )
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags") or "")
        choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
        given = context.get("tag", item["input"])
        return source.diagnostic(
            "RD103",
            f"`{str(given)[:60]}` is not one of the values of `{_label(loc)}`",
            path,
            hint=suggest(str(given), choices) or f"one of {', '.join(choices)}",
        )
    if kind in _WORDS:
        return source.diagnostic(
            "RD105", f"`{_label(loc)}` is {_WORDS[kind]}, not {_shown(item['input'])}", path
        )
    if kind in _RANGE:
        requirement = message.removeprefix("Input ").removeprefix("should ")
        return source.diagnostic(
            "RD106", f"`{_label(loc)}` is out of range: it should {requirement}", path
        )
    return source.diagnostic("RD107", message, path, key=not whole)


def _label(loc: tuple[int | str, ...]) -> str:
    names = [step for step in loc if isinstance(step, str) and step not in ("operation", "[key]")]
    return names[-1] if names else "the value"
