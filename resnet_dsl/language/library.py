"""Where definitions come from: the spec itself, then the library that ships in the package.

The library is a folder of YAML files a kind. A name is looked up as a file name only after it was
checked to be an identifier, so a spec cannot reach outside of the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from resnet_dsl.errors import CompileError, suggest
from resnet_dsl.language.definitions import (
    MODELS,
    BlockDef,
    Definition,
    HeadDef,
    Kind,
    ShortcutDef,
    StemDef,
    header_free,
)
from resnet_dsl.language.fields import IDENTIFIER, RECIPE_NAME
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.scope import check_definition
from resnet_dsl.language.source import Source, read
from resnet_dsl.language.training import Training
from resnet_dsl.language.validate import validate

LIBRARY = Path(__file__).resolve().parent.parent / "library"

D = TypeVar("D", bound=Definition, covariant=True)
SourcePath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Located(Generic[D]):
    """A definition with its name and its place, so that errors inside of it point there."""

    kind: Kind
    name: str
    definition: D
    source: Source
    path: SourcePath

    @property
    def emitted_name(self) -> str:
        """What emitted code calls it."""
        return self.definition.emit_as or self.name


def names(kind: str) -> list[str]:
    """The names of a kind (block, shortcut, stem, head, recipe) in the package's library."""
    return sorted(file.stem for file in (LIBRARY / f"{kind}s").glob("*.yaml"))


@cache
def _from_package(kind: Kind, name: str) -> Located[Definition] | None:
    file = LIBRARY / f"{kind}s" / f"{name}.yaml"
    if not IDENTIFIER.fullmatch(name) or not file.is_file():
        return None
    source = read(file)
    definition = validate(MODELS[kind], _Headless.of(kind, source).data, source)
    located = Located(kind, name, definition, source, ())
    check_definition(kind, definition, source, ())
    return located


@dataclass(frozen=True, slots=True)
class _Headless:
    data: dict[str, object]

    @classmethod
    def of(cls, kind: Kind, source: Source) -> _Headless:
        return cls(header_free(kind, source.data))


class Definitions:
    """The definitions that one spec can call."""

    def __init__(self, spec: Spec, source: Source) -> None:
        self._source = source
        self._own: dict[tuple[Kind, str], Definition] = {}
        groups: tuple[tuple[Kind, dict[str, Definition]], ...] = (
            ("block", {**spec.blocks}),
            ("shortcut", {**spec.shortcuts}),
            ("stem", {**spec.stems}),
            ("head", {**spec.heads}),
        )
        for kind, group in groups:
            for name, definition in group.items():
                self._own[kind, name] = definition
                check_definition(kind, definition, source, (f"{kind}s", name))

    def find(self, kind: Kind, name: str) -> Located[Definition] | None:
        """The definition of that kind and name; the spec's own before the library's."""
        own = self._own.get((kind, name))
        if own is not None:
            return Located(kind, name, own, self._source, (f"{kind}s", name))
        return _from_package(kind, name)

    def known(self, kind: Kind) -> list[str]:
        """Every name of that kind that a call here may use."""
        return sorted({own for own_kind, own in self._own if own_kind == kind} | set(names(kind)))

    def need(self, kind: Kind, name: str, source: Source, path: SourcePath) -> Located[Definition]:
        """`find`, or a CompileError that points to the call and suggests a name."""
        found = self.find(kind, name)
        if found is not None:
            return found
        known = self.known(kind)
        raise CompileError(
            source.diagnostic(
                "RD201",
                f"there is no {kind} `{name[:60]}`",
                path,
                key=True,
                hint=suggest(name, known) or f"known: {', '.join(known)}",
            )
        )

    def block(self, name: str, source: Source, path: SourcePath) -> Located[BlockDef]:
        """The block of that name."""
        found = self.need("block", name, source, path)
        assert isinstance(found.definition, BlockDef)
        return Located("block", found.name, found.definition, found.source, found.path)

    def shortcut(self, name: str, source: Source, path: SourcePath) -> Located[ShortcutDef]:
        """The shortcut of that name."""
        found = self.need("shortcut", name, source, path)
        assert isinstance(found.definition, ShortcutDef)
        return Located("shortcut", found.name, found.definition, found.source, found.path)

    def ends(
        self, kind: Kind, name: str, source: Source, path: SourcePath
    ) -> Located[StemDef | HeadDef]:
        """The stem or the head of that name."""
        found = self.need(kind, name, source, path)
        assert isinstance(found.definition, StemDef | HeadDef)
        return Located(kind, found.name, found.definition, found.source, found.path)


def recipe(name: str, spec: Spec, source: Source) -> dict[str, object]:
    """The settings of a training recipe, from the spec's `recipes:` or from the library."""
    own = spec.recipes.get(name)
    if own is not None:
        settings = validate(Training, own, source, ("recipes", name))
        return settings.model_dump(exclude_none=True)
    file = LIBRARY / "recipes" / f"{name}.yaml"
    if not RECIPE_NAME.fullmatch(name) or not file.is_file():
        known = sorted({*names("recipe"), *spec.recipes})
        raise CompileError(
            source.diagnostic(
                "RD202",
                f"there is no recipe `{name[:60]}`",
                ("train", "recipe") if isinstance(source.data.get("train"), dict) else ("train",),
                hint=suggest(name, known) or f"known: {', '.join(known)}",
            )
        )
    found = read(file)
    data = {key: value for key, value in found.data.items() if key not in ("recipe", "doc")}
    return validate(Training, data, found).model_dump(exclude_none=True)
