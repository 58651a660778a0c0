"""Where definitions come from: the spec itself, then the library that ships in the package.

The library is a folder of YAML files a kind. A name is looked up as a file name only after it was
checked to be an identifier, so a spec cannot reach outside of the folder. What a spec defines wins
over the library where the spec calls it; the library's own calls stay in the library, so that a
library block means the same in every spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.language.body import ACTIVATIONS, FORMS, OPERATIONS
from resnet_dsl.language.checks import argument_problems, check_definition
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
from resnet_dsl.language.scope import all_types, calls
from resnet_dsl.language.source import Source, read
from resnet_dsl.language.training import Training
from resnet_dsl.language.validate import validate
from resnet_dsl.language.words import said_here

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
def from_package(kind: Kind, name: str) -> Located[Definition] | None:
    """A definition of the package's library; None where there is none of that name."""
    file = LIBRARY / f"{kind}s" / f"{name}.yaml"
    if not IDENTIFIER.fullmatch(name) or not file.is_file():
        return None
    source = read(file)
    definition = validate(MODELS[kind], header_free(kind, source.data), source)
    found = check_definition(kind, definition, source, ())
    if found:
        raise CompileError(found)
    return Located(kind, name, definition, source, ())


def own_definitions(spec: Spec) -> Iterator[tuple[Kind, str, Definition]]:
    """What a spec defines, its includes with it."""
    for kind in MODELS:
        for name, definition in getattr(spec, f"{kind}s").items():
            yield kind, name, definition


class Definitions:
    """The definitions that one spec can call. Raises CompileError with every finding in its own."""

    def __init__(self, spec: Spec, source: Source) -> None:
        self.source = source
        self._own: dict[tuple[Kind, str], Located[Definition]] = {}
        found: list[Diagnostic] = []
        for kind, name, definition in own_definitions(spec):
            located = Located(kind, name, definition, source, (f"{kind}s", name))
            self._own[kind, name] = located
            found += check_definition(kind, definition, source, located.path)
        for located in self._own.values():
            found += self.check_calls(located)
        if found:
            raise CompileError(dict.fromkeys(found))

    def find(
        self, kind: Kind, name: str, source: Source | None = None
    ) -> Located[Definition] | None:
        """The definition of that kind and name, for a call in `source` (the spec's, if not given)."""
        own = self._own.get((kind, name)) if source in (None, self.source) else None
        return from_package(kind, name) if own is None else own

    def known(self, kind: Kind) -> list[str]:
        """Every name of that kind that the spec may use."""
        return sorted({own for own_kind, own in self._own if own_kind == kind} | set(names(kind)))

    def need(self, kind: Kind, name: str, source: Source, path: SourcePath) -> Located[Definition]:
        """`find`, or a CompileError that points to the call and suggests a name."""
        found = self.find(kind, name, source)
        if found is None:
            raise CompileError(unknown_name(kind, name, self.known(kind), source, path))
        return found

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

    def check_calls(self, located: Located[Definition]) -> list[Diagnostic]:
        """What is wrong with a definition's calls: their names, and their arguments."""
        source = located.source
        types = all_types(located.kind, located.definition)
        found: list[Diagnostic] = []
        for kind, form, path, scope in calls(located.definition, types, located.path):
            where = (*path, form.name) if (*path, form.name) in source.positions else path
            callee = self.find(kind, form.name, source)
            if callee is None:
                more = (*OPERATIONS, *FORMS) if kind == "block" else ()
                known = self.known(kind)
                found.append(unknown_name(kind, form.name, known, source, where, more))
            else:
                found += argument_problems(
                    kind, form, callee.definition.parameters, scope, source, where
                )
        return found


def unknown_name(
    kind: Kind,
    name: str,
    known: list[str],
    source: Source,
    path: SourcePath,
    more: tuple[str, ...] = (),
) -> Diagnostic:
    """A finding: nothing is defined under that name. `more` are other words that may be meant."""
    what = f"operation or {kind}" if more else kind
    listed = ", ".join(known)
    if more:
        plain = sorted(OPERATIONS - ACTIVATIONS)
        listed = f"{', '.join(plain)}, the activations, and the blocks {listed}"
    hint = (said_here(name) if more else None) or suggest(name, [*known, *more])
    return source.diagnostic(
        "RD201",
        f"there is no {what} `{name[:60]}`",
        path,
        key=path[-1:] == (name,),
        hint=hint or f"known: {listed}",
    )


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
