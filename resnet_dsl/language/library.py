"""Where definitions come from: the spec itself, then the library that ships in the package.

The library is a folder of YAML files a kind. A name is looked up as a file name only after it was
checked to be an identifier, so a spec cannot reach outside of the folder. What a spec defines wins
over the library where the spec calls it; the library's own calls stay in the library, so that a
library block means the same in every spec.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.language.body import ACTIVATIONS, FORMS, OPERATIONS
from resnet_dsl.language.checks import (
    COUNT,
    argument_problem,
    check_definition,
    expression_problem,
    missing_argument,
    unknown_parameters,
)
from resnet_dsl.language.definitions import (
    MODELS,
    BlockDef,
    Definition,
    HeadDef,
    Kind,
    Parameters,
    ShortcutDef,
    StemDef,
    header_free,
)
from resnet_dsl.language.fields import IDENTIFIER, CallForm
from resnet_dsl.language.parts import refused
from resnet_dsl.language.schema import STAGE_KEYS, Spec, Stage
from resnet_dsl.language.scope import BUILT_IN, STAGE, Types, all_types, calls
from resnet_dsl.language.source import Source, read
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
        for name, definition in (getattr(spec, f"{kind}s") or {}).items():
            yield kind, name, definition


class Definitions:
    """The definitions that one spec, or what is whole of it, can call."""

    def __init__(self, spec: Spec, source: Source) -> None:
        self.source = source
        self._unread = {kind for kind in MODELS if refused(getattr(spec, f"{kind}s"))}
        self._own: dict[tuple[Kind, str], Located[Definition]] = {
            (kind, name): Located(kind, name, definition, source, (f"{kind}s", name))
            for kind, name, definition in own_definitions(spec)
        }

    def problems(self) -> list[Diagnostic]:
        """What is wrong with the spec's own definitions."""
        found: list[Diagnostic] = []
        for located in self._own.values():
            found += check_definition(located.kind, located.definition, self.source, located.path)
        for located in self._own.values():
            found += self.check_calls(located)
        return found

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
            found += self.check_call(kind, form, scope, source, path, in_body=True)
        return found

    def check_call(
        self,
        kind: Kind,
        form: CallForm,
        types: Types | None,
        source: Source,
        path: SourcePath,
        shared: Collection[str] = (),
        *,
        in_body: bool = False,
    ) -> Iterator[Diagnostic]:
        """What is wrong with a call at `path`: its name, and its arguments. `shared` are given to
        it elsewhere; what stands in a body is of the type that is asked for, whatever its value."""
        if refused(form.name):
            return
        where = call_path(form, source, path)
        callee = self.find(kind, form.name, source)
        if callee is None:
            if kind not in self._unread:
                more = (*OPERATIONS, *FORMS) if in_body and kind == "block" else ()
                yield unknown_name(kind, form.name, self.known(kind), source, where, more)
            return
        declared = callee.definition.parameters
        if refused(declared) or refused(form.arguments):
            return
        counts = BUILT_IN if in_body and kind == "block" else ()
        taken = {**declared, **dict.fromkeys(counts, COUNT)}
        yield from unknown_parameters(kind, form.name, taken, form.arguments, source, where)
        for name, raw in form.arguments.items():
            if name in taken:
                wanted = taken[name].type if in_body else None
                at = (*where, name)
                yield from argument_problem(name, raw, taken[name], types, wanted, source, at)
        for name, parameter in declared.items():
            needed = parameter.default is None and not refused(parameter.type)
            if needed and name not in form.arguments and name not in shared:
                yield missing_argument(kind, form.name, name, parameter, source, where)

    def check_stage(self, stage: Stage, path: SourcePath) -> Iterator[Diagnostic]:
        """What is wrong with the calls of a stage, and with the names that it reads."""
        source, given = self.source, stage.parameters or {}
        if not refused(stage.width):
            width = expression_problem(stage.width, STAGE, "int", source, (*path, "width"))
            yield from [width] if width is not None else []
        declared: list[Parameters | None] = []
        for place, form in pattern_calls(stage, source, path):
            yield from self.check_call("block", form, STAGE, source, place, given)
            callee = None if refused(form.name) else self.find("block", form.name)
            declared.append(None if callee is None else callee.definition.parameters)
        for key, shortcut in (("shortcut", stage.shortcut), ("skip", stage.skip)):
            if shortcut is not None:
                yield from self.check_call("shortcut", shortcut, {}, source, (*path, key))
        whole = {name: raw for name, raw in given.items() if not refused(raw)}
        named: set[str] = set()
        for parameters in declared:
            for name, taken in (parameters or {}).items():
                named.add(name)
                if name in whole:
                    at = (*path, name)
                    yield from argument_problem(name, whole[name], taken, STAGE, None, source, at)
        if declared and declared[0] is not None and None not in declared:
            strange = [name for name in whole if name not in named]
            called = stage.block[0].name
            yield from unknown_parameters(
                "block", called, declared[0], strange, source, path, STAGE_KEYS
            )


def call_path(form: CallForm, source: Source, path: SourcePath) -> SourcePath:
    """Where the name of a call stands: the place of the call, or the key of its arguments."""
    return (*path, form.name) if (*path, form.name) in source.positions else path


def pattern_calls(
    stage: Stage, source: Source, path: SourcePath
) -> Iterator[tuple[SourcePath, CallForm]]:
    """The blocks of a stage, each with its place: an entry of a list, or the one value."""
    for position, form in enumerate(stage.block or ()):
        entry = (*path, "block", position)
        yield entry if entry in source.positions else entry[:-1], form


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
