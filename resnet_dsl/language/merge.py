"""`extends` and `include`: one tree from several files, each value keeping the position it was written at.

`extends: base.yaml` lays the spec over another: mappings merge key by key, everything else replaces. `include:
[blocks.yaml]` adds definitions (`blocks`, `shortcuts`, `stems`, `heads`, `recipes`); one name is defined once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_dsl.errors import CompileError, Diagnostic, Position, Related, closest
from resnet_dsl.language.files import missing, read_text
from resnet_dsl.language.nodes import ListNode, MapNode, Node, ScalarNode
from resnet_dsl.language.source import parse_mapping

DEFINITIONS = ("blocks", "shortcuts", "stems", "heads", "recipes")
MAX_CHAIN = 16

_SCHEME_OR_DRIVE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class _Reference:
    """The name of another file, as one file writes it."""

    name: str
    position: Position
    verb: str
    path: Path


class Loader:
    """Reads a spec and what it names; `texts` collects what was read."""

    def __init__(self, resolve: Callable[[str, Path], Path] | None = None) -> None:
        self.resolve = resolve
        self.texts: dict[str, Sequence[str]] = {}

    def spec(self, path: Path, chain: tuple[Path, ...] = ()) -> MapNode:
        """The tree of a spec, with what it extends beneath it and what it includes added. Raises CompileError."""
        root = self.file(path)
        chain = (*chain, path)
        own = replace(
            root, entries={k: v for k, v in root.entries.items() if k not in ("extends", "include")}
        )
        seen: set[Path] = set()
        for reference in self.references(root, "include", path):
            own = self.include(own, reference, chain, seen)
        bases = self.references(root, "extends", path)
        return merge(self.follow(bases[0], chain, self.spec), own) if bases else own

    def include(
        self, own: MapNode, reference: _Reference, chain: tuple[Path, ...], seen: set[Path]
    ) -> MapNode:
        """`own` with the definitions of one included file, and of those that it includes."""

        def definitions(path: Path, chain: tuple[Path, ...]) -> MapNode:
            if path.resolve() in seen:  # reached by two ways: its definitions are there already
                return MapNode({}, reference.position)
            seen.add(path.resolve())
            root = self.file(path)
            self.only_definitions(root)
            found = replace(root, entries={k: v for k, v in root.entries.items() if k != "include"})
            for inner in self.references(root, "include", path):
                found = self.include(found, inner, (*chain, path), seen)
            return found

        return self.add(own, self.follow(reference, chain, definitions))

    def file(self, path: Path) -> MapNode:
        lines, root = parse_mapping(read_text(path), str(path))
        self.texts[str(path)] = lines
        return root

    def follow(
        self,
        reference: _Reference,
        chain: tuple[Path, ...],
        read: Callable[[Path, tuple[Path, ...]], MapNode],
    ) -> MapNode:
        """What `read` makes of the file that is named, unless that closes a cycle or goes on too long."""
        target = reference.path.resolve()
        reached = [path.resolve() for path in chain]
        if target in reached:
            cycle = [*chain[reached.index(target) :], chain[reached.index(target)]]
            names = " → ".join(f"`{path}`" for path in cycle)
            raise self.refusal(
                "RD022", f"`{reference.name}` leads back to itself", reference.position,
                why=f"the cycle is {names}", hint=f"remove one of these `{reference.verb}`",
            )  # fmt: skip
        if len(chain) >= MAX_CHAIN:
            raise self.refusal(
                "RD023", f"more than {MAX_CHAIN} files in a row", reference.position,
                hint=f"`{reference.verb}` a file nearer to the first one",
            )  # fmt: skip
        try:
            return read(reference.path, chain)
        except CompileError as error:
            raise self.placed(error, reference.position) from None

    def references(self, root: MapNode, verb: str, including: Path) -> list[_Reference]:
        """The files named by `extends` (one) or `include` (a list, or one)."""
        if verb not in root.entries:
            return []
        node = root.entries[verb][1]
        items: tuple[Node, ...] = (
            node.items if verb == "include" and isinstance(node, ListNode) else (node,)
        )
        found: list[_Reference] = []
        errors: list[Diagnostic] = []
        for item in items:
            try:
                found.append(self.locate(item, verb, including))
            except CompileError as error:
                errors += error.diagnostics
        if errors:
            raise CompileError(errors)
        return found

    def locate(self, node: Node, verb: str, including: Path) -> _Reference:
        position = node.position
        if (
            not isinstance(node, ScalarNode)
            or not isinstance(node.value, str)
            or not node.value.strip()
        ):
            example = "extends: base.yaml" if verb == "extends" else "include: [blocks.yaml]"
            raise self.refusal(
                "RD020", f"`{verb}` takes the name of a file", position, hint=f"write `{example}`"
            )
        name = node.value
        if name.startswith(("/", "\\", "~")) or _SCHEME_OR_DRIVE.match(name):
            raise self.refusal(
                "RD020", f"`{name}` is not relative to this file", position,
                why="a spec means the same on every machine, so it names its neighbours and nothing else",
                hint="write the path from this file's folder, such as `../blocks.yaml`",
            )  # fmt: skip
        beside = including.parent / name
        if os.path.isfile(beside) or self.resolve is None:
            path = beside
        else:
            try:
                path = self.resolve(name, including)
            except CompileError as error:
                raise self.placed(error, position) from None
            except (LookupError, FileNotFoundError):
                path = beside
        if not os.path.exists(path):
            raise self.placed(missing(_tidy(path), "RD021", name), position)
        if not os.path.isfile(path) and not os.path.isdir(path):
            raise self.refusal(
                "RD001", f"`{name}` is a device or a pipe, not a file", position,
                why="what it holds could change from one reading to the next, or never come",
            )  # fmt: skip
        return _Reference(name, position, verb, _tidy(path))

    def only_definitions(self, root: MapNode) -> None:
        errors: list[Diagnostic] = []
        for name, (position, node) in root.entries.items():
            if name not in (*DEFINITIONS, "include"):
                near = closest(name, DEFINITIONS, likeness=0.8)
                errors += self.refusal(
                    "RD024", f"`{name}` may not stand in an included file", position,
                    why="an included file holds definitions: " + ", ".join(f"`{key}`" for key in DEFINITIONS),
                    hint=f"did you mean `{near}`?" if near else "write `extends` to build on a whole spec",
                ).diagnostics  # fmt: skip
            elif name != "include" and not isinstance(node, MapNode):
                errors += self.refusal(
                    "RD024", f"`{name}` holds definitions by their names", node.position,
                    hint=f"write `{name}: {{my_name: …}}`",
                ).diagnostics  # fmt: skip
        if errors:
            raise CompileError(errors)

    def add(self, own: MapNode, included: MapNode) -> MapNode:
        """`own` with more definitions; a name that both define is an error that points to both."""
        entries = dict(own.entries)
        errors: list[Diagnostic] = []
        for section, (key, added) in included.entries.items():
            if section not in entries:
                entries[section] = (key, added)
                continue
            here, mine = entries[section]
            if not isinstance(mine, MapNode) or not isinstance(added, MapNode):
                continue  # the schema will say what belongs here
            for name, (position, _) in added.entries.items():
                if name in mine.entries:
                    first = mine.entries[name][0]
                    errors += self.refusal(
                        "RD025", f"`{name}` is defined twice under `{section}`", position,
                        hint="rename one of them, or remove the `include`",
                        related=(Related(first, self.line(first), "also defined here"),),
                    ).diagnostics  # fmt: skip
            entries[section] = (here, replace(mine, entries={**mine.entries, **added.entries}))
        if errors:
            raise CompileError(errors)
        return replace(own, entries=entries)

    def placed(self, error: CompileError, position: Position) -> CompileError:
        """The error with findings that have no position shown where the file was named."""
        return CompileError(
            item
            if item.position
            else replace(item, position=position, line_text=self.line(position))
            for item in error.diagnostics
        )

    def line(self, position: Position) -> str | None:
        return self.texts[position.file][position.line - 1]

    def refusal(
        self,
        code: str,
        message: str,
        position: Position,
        *,
        why: str | None = None,
        hint: str | None = None,
        related: tuple[Related, ...] = (),
    ) -> CompileError:
        return CompileError(
            Diagnostic(code, message, position, self.line(position), why, hint, related)
        )


def merge(base: MapNode, over: MapNode) -> MapNode:
    """`over` on top of `base`: mappings merge key by key in the base's order, everything else replaces. `train: digits`
    is short for a mapping."""
    entries = dict(base.entries)
    for name, (position, node) in over.entries.items():
        below = entries[name][1] if name in entries else None
        if name == "train" and isinstance(below, ScalarNode) and isinstance(below.value, str):
            below = MapNode({"recipe": (below.position, below)}, below.position)
        if isinstance(below, MapNode) and isinstance(node, MapNode):
            node = merge(below, node)
        entries[name] = (position, node)
    return replace(over, entries=entries)


def _tidy(path: Path) -> Path:
    """The path without `a/..`, where that is still the same place (a link to a folder can make it another)."""
    short = Path(os.path.normpath(path))
    try:
        return short if short.parent.samefile(path.parent) else path
    except OSError:
        return path
