"""The tables of docs/language.md, read off the code: nothing in them is written twice."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resnet_dsl.ir.expr import FUNCTIONS
from resnet_dsl.language import expression, library, schema
from resnet_dsl.language.body import ACTIVATIONS, Operation
from resnet_dsl.language.definitions import MODELS
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.scope import BUILT_IN, SCOPES
from resnet_dsl.language.source import read
from resnet_dsl.language.training import GROUPS
from resnet_dsl.lower import block, body, frame, registry

MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The document with every marked table as the code says today."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def operations() -> str:
    """Every operation with its arguments; those in brackets may be left out."""

    def rows() -> Iterator[Sequence[str]]:
        for model in get_args(Operation):
            words = get_args(model.model_fields["op"].annotation)
            names = [words] if set(words) <= ACTIVATIONS else [(word,) for word in words]
            for group in names:
                arguments = [
                    name if field.is_required() else f"[{name}]"
                    for name, field in model.model_fields.items()
                    if name != "op"
                ]
                shown = ", ".join(f"`{word}`" for word in group)
                yield shown, ", ".join(arguments) or "–", sentence(model.__doc__)

    return table(("operation", "arguments", "what it does"), rows())


def definitions() -> str:
    """The library: every block, shortcut, stem and head with its parameters."""

    def rows() -> Iterator[Sequence[str]]:
        for kind in MODELS:
            for name in library.names(kind):
                found = library.from_package(kind, name)
                assert found is not None
                parameters = ", ".join(
                    f"{parameter}: {'–' if item.default is None else yaml(item.default)}"
                    for parameter, item in found.definition.parameters.items()
                )
                yield kind, f"`{name}`", parameters or "–", found.definition.doc

    return table(("kind", "name", "parameters", "what it is"), rows())


def sections() -> str:
    """The keys of a spec with their defaults."""

    def rows() -> Iterator[Sequence[str]]:
        for name, field in schema.Spec.model_fields.items():
            yield f"`{name}`", default(field), KEYS[name]

    assert list(KEYS) == list(schema.Spec.model_fields), "a key of a spec has no words in the docs"
    return table(("key", "default", "what it says"), rows())


KEYS = {
    "name": "the network, its files and its function; an identifier",
    "doc": "one sentence, and its source",
    "input": "`channels` (3) and `size`, one number or `[height, width]`",
    "classes": "how many; `head` definitions read it",
    "norm": "what `norm` in a body means",
    "activation": "what `act` in a body means",
    "init": "how weights begin",
    "stem": "what stands before the stages",
    "shortcut": "the shortcut of every block that has none of its own",
    "stages": "a list of stages, at least one",
    "skip": "a shortcut around all stages",
    "trunk": "the name of one flat chain that holds stem and stages, as VGG's `features`",
    "drop_path": "stochastic depth",
    "head": "what stands after the stages",
    "train": "a recipe, settings over it, or both",
    "blocks": "blocks of your own, by name",
    "shortcuts": "shortcuts of your own, by name",
    "stems": "stems of your own, by name",
    "heads": "heads of your own, by name",
    "recipes": "recipes of your own, by name",
}


def settings() -> str:
    """The sections of a spec that are mappings, with their keys and defaults."""
    models: dict[str, type[BaseModel]] = {
        "input": schema.Input,
        "norm: batch": schema.BatchNorm,
        "norm: group": schema.GroupNorm,
        "norm: frozen": schema.FrozenNorm,
        "init": schema.Initialisation,
        "drop_path": schema.DropPath,
        "a stage": schema.Stage,
    }

    def rows() -> Iterator[Sequence[str]]:
        for section, model in models.items():
            keys = [
                f"`{name}` ({default(field)})"
                for name, field in model.model_fields.items()
                if name not in ("kind", "parameters")
            ]
            yield section, ", ".join(keys), sentence(model.__doc__)

    return table(("section", "keys (default)", ""), rows())


def training() -> str:
    """Every setting of a training: its values, its neutral one, and what it means."""
    base = read(library.LIBRARY / "recipes" / "base.yaml").data

    def rows() -> Iterator[Sequence[str]]:
        for group in GROUPS:
            yield f"*{sentence(group.__doc__)}*", "", "", ""
            meanings = attribute_docs(group)
            for name, field in group.model_fields.items():
                neutral = f"`{flow(base[name])}`" if name in base else "–"
                yield f"`{name}`", kind(field.annotation), neutral, meanings[name]

    return table(("setting", "values", "base", "what it says"), rows())


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The text below each of a class's fields, on one line."""
    (found,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(found, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in pairwise(found.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                docs[name] = sentence(text)
            case _:
                pass
    return docs


def kind(annotation: Any) -> str:
    """What values an annotation takes, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(kind(part) for part in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {kind(get_args(annotation)[0])}s"
    words = {int: "integer", float: "number", bool: "truth", str: "text", NoneType: "null"}
    return words[annotation]


def recipes() -> str:
    """The recipes of the library."""

    def rows() -> Iterator[Sequence[str]]:
        for name in library.names("recipe"):
            data = read(library.LIBRARY / "recipes" / f"{name}.yaml").data
            below = data.get("recipe")
            yield f"`{name}`", f"`{below}`" if below else "–", data["doc"]

    return table(("recipe", "builds on", "what it is"), rows())


def names() -> str:
    """The names that expressions know in each kind of definition."""

    def rows() -> Iterator[Sequence[str]]:
        for kind, types in SCOPES.items():
            yield kind, ", ".join(f"`{name}`" for name in types)

    return table(("in a", "names"), rows())


def limits() -> str:
    """What is bounded, and where."""
    bounds = {
        "blocks in a network": schema.MAX_BLOCKS,
        "channels of an image": schema.MAX_CHANNELS,
        "height and width of the input": schema.MAX_EXTENT,
        "any extent inside of the network": frame.MAX_EXTENT,
        "operations in one block": frame.MAX_STATEMENTS,
        "operations in the functions of a network": registry.MAX_STATEMENTS,
        "operations in a network": frame.MAX_NODES,
        "numbers in the weights of a network": frame.MAX_WEIGHTS,
        "rounds of a `repeat`": body.MAX_REPEAT,
        "entries of bodies lowered for one network": body.MAX_STEPS,
        "blocks that call one another": block.MAX_NESTED_CALLS,
        "operators in an expression": expression.MAX_OPERATORS,
        "levels of an expression": expression.MAX_NESTING,
    }
    return table(("what", "at most"), ((what, f"{most:,}") for what, most in bounds.items()))


def functions() -> str:
    """The functions of expressions, and what a call in a body may give besides parameters."""
    return f"Functions: {', '.join(f'`{name}`' for name in FUNCTIONS)}."


def calls() -> str:
    """What a body may give to any block."""
    return f"Besides its parameters a block takes {', '.join(f'`{name}`' for name in BUILT_IN)}."


def default(field: FieldInfo) -> str:
    """A field's default as the language spells it."""
    if field.is_required():
        return "required"
    value: Any = field.get_default()
    if isinstance(value, CallForm):
        return f"`{value.name}`"
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'kind', '{}')}`"
    return "–" if value in (None, "", {}, []) else f"`{yaml(value)}`"


def yaml(value: object) -> str:
    """A scalar as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def flow(value: object) -> str:
    """A value as YAML spells it on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return "null" if value is None else yaml(value)


def sentence(text: str | None) -> str:
    """A docstring on one line."""
    return " ".join((text or "").split())


TABLES = {
    "operations": operations,
    "definitions": definitions,
    "sections": sections,
    "settings": settings,
    "training": training,
    "recipes": recipes,
    "names": names,
    "limits": limits,
    "functions": functions,
    "calls": calls,
}
