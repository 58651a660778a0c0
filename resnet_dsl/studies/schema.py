"""What a study's file says: specs, what is varied, how often, and what is shown of it.

    name: degradation
    doc: Plain nets get worse with depth, and residual nets do not.
    spec: resnet20
    axes:
      net:
        values:                        # by labels: each may name a spec, or set values of it
          plain: {set: {shortcut: none}}
          residual:
      depth:
        values: [8, 14, 20, 32]        # a list: `set` then computes with the axis's name
        set: {stages.*.depth: (depth - 2) / 6}
    seeds: [0, 1, 2]
    table: {columns: net}
    figure: {kind: curves, groups: net, lines: depth}

The runs are all combinations of the axes' values, each with every seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.language.fields import Identifier, Model, Scalar
from resnet_dsl.language.library import LIBRARY
from resnet_dsl.language.source import Source, load, read
from resnet_dsl.language.validate import validate

STUDIES = LIBRARY / "studies"
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
LABEL = re.compile(r"[A-Za-z0-9_.+-]{1,64}", re.ASCII)

Seed: TypeAlias = Annotated[int, Field(ge=0)]
Settings: TypeAlias = dict[str, Any]
"""Overrides of a spec by their places, as `--set` takes them: `train.epochs: 3`, `stages.*.depth: 5`."""


def _variant(value: object) -> object:
    """A name alone is a spec, and nothing at all the study's own."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        for key in value:
            if key not in Variant.model_fields:
                known = ", ".join(f"`{name}`" for name in Variant.model_fields)
                raise PydanticCustomError(
                    "variant",
                    "unknown key `{name}`",
                    {"name": key[:60], "key": key, "hint": f"a value of an axis has {known}"},
                )
    return {"spec": value} if isinstance(value, str) else value


class Variant(Model):
    """A labelled value of an axis: another spec, other values in it, or both."""

    spec: str | None = None
    set: Settings = {}


def _values(value: object) -> object:
    if not isinstance(value, list | Mapping) or not value:
        raise PydanticCustomError(
            "values",
            "the values of an axis are a list, or a mapping of labels",
            {"hint": "write `values: [8, 14, 20]`, or `values: {plain: {set: {…}}, residual: }`"},
        )
    return value


Labelled: TypeAlias = dict[str, Annotated[Variant, BeforeValidator(_variant)]]
Values: TypeAlias = Annotated[
    Annotated[Labelled, Tag("labelled")] | Annotated[list[Scalar], Tag("kind")],
    Discriminator(lambda value: "kind" if isinstance(value, list) else "labelled"),
    BeforeValidator(_values),
]


class Axis(Model):
    """What is varied. Values are labelled, or a list; text in `set` is an expression of the axis's name then."""

    values: Values
    spec: str | None = None
    set: Settings = {}

    @model_validator(mode="after")
    def _labels(self) -> Axis:
        labels = self.labels
        for label in labels:
            if not LABEL.fullmatch(label):
                raise PydanticCustomError(
                    "label",
                    "`{label}` cannot be a value of an axis",
                    {
                        "label": label[:60],
                        "key": "values",
                        "hint": "use letters, digits, `_`, `.`, `+` and `-`",
                    },
                )
        if len({*labels}) < len(labels):
            raise PydanticCustomError("twice", "a value is there twice", {"key": "values"})
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as tables and `--axis` write them."""
        return tuple(map(as_label, self.values))


class Table(Model):
    """What is tabulated: the values of one axis side by side, those of the others below one another."""

    columns: str | None = None
    measure: Literal["last_error", "best_error", "train_error", "seconds"] = "last_error"


class Figure(Model):
    """What is drawn. `curves`: training error (thin) and test error (bold) against iterations, a colour for each of
    `lines` and a panel for each of `groups`. `responses`: standard deviations of the layers' responses
    (He et al. 2015, figure 7), a colour for each of `lines` and a line style for each of `groups`. `errors`: the
    table's measure along the axis `x`, a colour for each of `lines`."""

    kind: Literal["curves", "errors", "responses"]
    x: str | None = None
    lines: str | None = None
    groups: str | None = None

    @model_validator(mode="after")
    def _needs(self) -> Figure:
        needed, other = ("x", "groups") if self.kind == "errors" else ("lines", "x")
        if getattr(self, needed) is None:
            raise PydanticCustomError(
                "role",
                "the figure `{kind}` needs an axis for `{needed}`",
                {"kind": self.kind, "needed": needed, "hint": f"add `{needed}: …`"},
            )
        if getattr(self, other) is not None:
            raise PydanticCustomError(
                "role",
                "the figure `{kind}` has no `{other}`",
                {"kind": self.kind, "other": other, "key": other, "hint": "remove it"},
            )
        return self


class Study(Model):
    """One study."""

    READ_BEFORE: ClassVar = ("extends",)

    name: Identifier
    doc: str = ""
    spec: str | None = None
    set: Settings = {}
    axes: Annotated[dict[Identifier, Axis], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    table: Table = Table()
    figure: Figure | None = None

    @model_validator(mode="after")
    def _together(self) -> Study:
        for part in (self.table, self.figure):
            for role, axis in roles(part).items():
                if axis not in self.axes:
                    raise PydanticCustomError(
                        "axis",
                        "`{role}: {axis}` names no axis of this study",
                        {
                            "role": role,
                            "axis": axis,
                            "key": "table" if part is self.table else "figure",
                            "hint": f"its axes are {', '.join(f'`{name}`' for name in self.axes)}",
                        },
                    )
        shown = [*roles(self.figure).values()]
        hidden = [axis for axis in self.axes if axis not in shown]
        if self.figure is not None and (hidden or len({*shown}) < len(shown)):
            problem = f"does not show the axis `{hidden[0]}`" if hidden else "shows an axis twice"
            raise PydanticCustomError(
                "axis",
                "the figure {problem}",
                {"problem": problem, "key": "figure", "hint": "give each axis one place in it"},
            )
        if _DEVICE.fullmatch(self.name):
            raise PydanticCustomError(
                "device", "on Windows `{name}` is a device", {"name": self.name, "key": "name"}
            )
        if len({*self.seeds}) < len(self.seeds):
            raise PydanticCustomError("twice", "a seed is there twice", {"key": "seeds"})
        return self


def roles(part: Table | Figure | None) -> dict[str, str]:
    """What the axes are in a table or a figure: `{"groups": "net", "lines": "depth"}`."""
    names = {role: getattr(part, role, None) for role in ("columns", "x", "lines", "groups")}
    return {role: axis for role, axis in names.items() if axis is not None}


def as_label(value: object) -> str:
    """A listed value as tables and `--axis` write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def library_studies() -> dict[str, str]:
    """The studies of the library, each with what it says of itself."""
    files = sorted(STUDIES.glob("*.yaml"))
    return {file.stem: str(read(file).data.get("doc", "")) for file in files}


def find_study(text: str) -> Path:
    """The file of a study given as a path, or as the name of one of the library. Raises CompileError RD660."""
    path = Path(text)
    if path.is_file():
        return path
    known = [file.stem for file in sorted(STUDIES.glob("*.yaml"))]
    if text in known:
        return STUDIES / f"{text}.yaml"
    if path.suffix in (".yaml", ".yml"):
        return path  # the reader says what is wrong with it
    raise CompileError(
        Diagnostic(
            "RD660",
            f"there is no study `{text[:80]}`",
            why="it is neither a file nor the name of a study of the library",
            hint=suggest(text, known) or f"known: {', '.join(known)}",
        )
    )


def read_study(path: Path) -> tuple[Study, Source]:
    """A study, with what it extends. Raises CompileError with every finding."""
    try:
        source = load(path, resolve=lambda name, _: STUDIES / f"{name.removesuffix('.yaml')}.yaml")
    except CompileError as error:
        raise CompileError(map(_of_a_study, error.diagnostics)) from None
    return validate(Study, source.data, source), source


def _of_a_study(item: Diagnostic) -> Diagnostic:
    """What is said of a file that holds no mapping, in the words of studies."""
    words = {
        "RD005": "there is no study in this file",
        "RD008": "a study is a mapping of keys to values",
    }
    if item.code not in words:
        return item
    hint = "begin with `name: my_study`; `resnet-dsl study` lists those of the library"
    return replace(item, message=words[item.code], hint=hint)
