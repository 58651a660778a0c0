"""From Pydantic's findings to diagnostics that point into the text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from resnet_dsl.errors import CompileError, Diagnostic, Related
from resnet_dsl.language.misreadings import CUT_SHORT, syntax_problem
from resnet_dsl.language.scalars import resolve
from resnet_dsl.language.source import Source
from resnet_dsl.language.synonyms import hint_for

Path = tuple[str | int, ...]
Location = tuple[int | str, ...]
M = TypeVar("M", bound=BaseModel)

_RANGE = {
    "greater_than": "be more than",
    "greater_than_equal": "be at least",
    "less_than": "be less than",
    "less_than_equal": "be at most",
    "finite_number": "be a finite number",
}
_BOUNDS = ("gt", "ge", "lt", "le")
_ENTRIES = {"too_short": ("least", "min_length"), "too_long": ("most", "max_length")}
_WORDS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "tuple_type": "one number, or a list of two",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "expression_type": "a number or an expression",
    "scalar": "a number, true, false or text",
}
_SHAPES = {"call", "call_arguments", "item", "operation_arguments", "kinded", "pair", "parameter"}
"""Findings of the language's own, about something that is not in the form it should have."""

_EXAMPLES = {
    "input": "{channels: 3, size: 224}",
    "norm": "batch` or `norm: {group: {groups: 32}}",
    "activation": "relu` or `activation: {leaky_relu: {slope: 0.1}}",
    "init": "{zero_last_norm: true}",
    "drop_path": "{rate: 0.5}",
    "stages": "[{block: basic, depth: 2, width: 64}]",
    "blocks": "{mine: {residual: [{conv: {kernel: 3}}, norm]}}",
    "train": "{recipe: digits, epochs: 20}",
    "parameters": "{expansion: 4}",
    "body": "[{conv: {kernel: 3}}, norm, act]",
    "residual": "[{conv: {kernel: 3}}, norm]",
    "branches": "[[{conv: {kernel: 1}}], [{conv: {kernel: 3}}, act]]",
}
"""What a section looks like, for those who gave it another form."""

_PLAIN: Mapping[str, tuple[type, ...]] = {
    "int_type": (int,),
    "float_type": (int, float),
    "bool_type": (bool,),
    "tuple_type": (int,),
}
"""What text would be, without its quotes."""

_DISCRIMINATORS = ("op", "kind")
"""Fields that tell one model of a union from another; the language writes them as keys of their own."""

_TAGS = ("operation", "[key]", "kind")
"""Steps of Pydantic's locations that the language does not write."""


def validate(model: type[M], data: object, source: Source, path: Path = ()) -> M:
    """`data`, found at `path` of `source`, as a `model`. Raises CompileError with every finding."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [
            _diagnostic(model, dict(item), source, path) for item in error.errors(include_url=False)
        ]
        raise CompileError(dict.fromkeys(found)) from None


def _real_path(source: Source, base: Path, location: Location) -> tuple[Path, bool]:
    """The part of Pydantic's location that exists in the text (its own tags and the names of
    fields that the language spells otherwise drop out), and whether its last step does."""
    here: Any = source.data
    for step in base:
        here = here[step]
    path = base
    whole = True
    for step in location:
        whole = isinstance(here, Mapping) and step in here
        if isinstance(here, list) and isinstance(step, int):
            whole = step < len(here)
        if whole:
            here, path = here[step], (*path, step)
    return path, whole


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that the section at `location` knows, for suggestions."""
    current: Any = model
    for step in location[:-1]:
        current = _step(current, step)
        if current is None:
            return []
    for found in (current, *getattr(current, "__args__", ())):  # `Training | None` is a Training
        if isinstance(found, type) and issubclass(found, BaseModel):
            own = [field.alias or name for name, field in found.model_fields.items()]
            return [*own, *getattr(found, "READ_BEFORE", ())]
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
            tags = _tags(part)
            if step in tags or isinstance(step, int) or not tags:
                return part
        found = _step(part, step)
        if found is not None:
            return found
    return None


def _tags(model: type[BaseModel]) -> set[str]:
    """The words that tell one model of a union from another."""
    found = (model.model_fields.get(name) for name in _DISCRIMINATORS)
    return {tag for field in found if field is not None for tag in get_args(field.annotation)}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return f"`{str(value)[:60]}`"


def _diagnostic(
    model: type[BaseModel], item: dict[str, Any], source: Source, base: Path
) -> Diagnostic:
    kind: str = item["type"]
    location: Location = item["loc"]
    context: dict[str, Any] = item.get("ctx") or {}
    path, whole = _real_path(source, base, location)
    name = str(location[-1]) if location else ""
    label = _label(location)
    message: str = item["msg"]
    is_key = location[-1:] == ("[key]",)
    last = str(path[-1]) if path else ""
    if (whole or is_key) and ")" in last.partition("(")[0]:
        message = f"`{last[:60]}` is the end of an expression, and stands where a key does"
        return source.diagnostic("RD301", message, path, key=True, hint=CUT_SHORT)
    if kind == "extra_forbidden":
        fields = [field for field in _fields(model, location) if field not in _DISCRIMINATORS]
        hint = hint_for(name, fields)
        if hint is None and fields:
            hint = f"known here: {', '.join(fields)}"
        return source.diagnostic("RD101", f"unknown key `{name[:60]}`", path, key=True, hint=hint)
    if kind == "missing":
        return source.diagnostic("RD102", f"`{name}` is missing", path, hint=f"add `{name}: …`")
    if kind == "expression":
        return syntax_problem(context["error"], source, path)
    if kind == "identifier":
        return source.diagnostic(
            "RD104",
            message,
            path,
            key=is_key,
            why="names become Python identifiers, module paths and file names",
            hint="use letters, digits and underscores, a letter first, at most 64",
        )
    if kind == "taken":
        return source.diagnostic(
            "RD108", message, path, key=is_key, why=context["reason"], hint="choose another name"
        )
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags") or "")
        choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
        given = context.get("tag", item["input"])
        return source.diagnostic(
            "RD103",
            f"{_shown(given)} is not one of the values of `{label}`",
            path,
            hint=hint_for(str(given), choices) or f"one of {', '.join(choices)}",
        )
    if kind in _WORDS:
        quoted = _quoted(kind, item["input"])
        return source.diagnostic(
            "RD105",
            f"`{label}` must be {_WORDS[kind]}, not {'the text ' if quoted else ''}"
            f"{_shown(item['input'])}",
            path,
            why=f"within quotes `{quoted}` is text" if quoted else None,
            hint=f"write `{quoted}` without quotes"
            if quoted
            else f"as in `{label}: {_EXAMPLES[label]}`"
            if label in _EXAMPLES
            else None,
        )
    if kind in _ENTRIES:
        extreme, bound = _ENTRIES[kind]
        count = context[bound]
        entries = "one entry" if count == 1 else f"{count} entries"
        needs = "needs" if kind == "too_short" else "takes"
        return source.diagnostic("RD106", f"`{label}` {needs} at {extreme} {entries}", path)
    if kind in _RANGE:
        bound = next((context[key] for key in _BOUNDS if key in context), "")
        return source.diagnostic(
            "RD106", f"`{label}` is out of range: it should {_RANGE[kind]} {bound}".rstrip(), path
        )
    if kind == "number":
        return source.diagnostic("RD106", f"`{label}` is out of range: {message}", path)
    if kind in _SHAPES:
        second = _second_name(source, path) if kind in ("kinded", "call") else None
        return second or source.diagnostic("RD105", message, path)
    if "key" in context:
        path = (*path, context["key"])
    return source.diagnostic("RD107", message, path, key=not whole, hint=context.get("hint"))


def _quoted(kind: str, value: object) -> str | None:
    """The text that would be of the kind that is asked for, were it not in quotes."""
    if not isinstance(value, str) or kind not in _PLAIN:
        return None
    try:
        meant = resolve(value)
    except OverflowError:
        return None
    fits = isinstance(meant, _PLAIN[kind]) and isinstance(meant, bool) == (kind == "bool_type")
    return value if fits else None


def _second_name(source: Source, path: Path) -> Diagnostic | None:
    """Two names where there is one, because a later file or an override added one to the other's."""
    from resnet_dsl.language.overrides import FILE

    found: Any = source.data
    for step in path:
        found = found[step]
    if not isinstance(found, Mapping) or len(found) < 2:
        return None
    first, *others = [(name, source.position((*path, name), key=True)) for name in found]
    later = next((item for item in others if item[1].file != first[1].file), None)
    if later is None:
        return None
    name, position = later
    whole = f"{'.'.join(map(str, path))}={_flow({name: found[name]})}"
    return source.diagnostic(
        "RD105",
        f"`{path[-1]}` takes one name with its settings, and `{name[:60]}` is a second one",
        (*path, name),
        key=True,
        why="a key that is added to a mapping leaves the others as they are",
        hint=f"give it as a whole: `{whole}`" if position.file == FILE else None,
        related=(Related(first[1], source.line(first[1]), "the first one"),),
    )


def _flow(value: object) -> str:
    """A value as YAML writes it on one line; what would be long is left out."""
    if isinstance(value, Mapping):
        text = f"{{{', '.join(f'{key}: {_flow(entry)}' for key, entry in value.items())}}}"
        return text if len(text) <= 80 else "{…}"
    return json.dumps(value, ensure_ascii=False)


def _label(location: Location) -> str:
    """The last key of a location."""
    names = [step for step in location if isinstance(step, str) and step not in _TAGS]
    return names[-1] if names else "the value"
