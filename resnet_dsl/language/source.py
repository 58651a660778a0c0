"""A spec's text as plain data that knows where each value was written.

`read` and `parse_text` take one file as it stands; `load` also follows `extends` and `include`, and applies
overrides. Positions and the source's lines travel with the data, so that whoever finds a value wrong can point to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic, Position, Related
from resnet_dsl.language.carets import narrow
from resnet_dsl.language.compose import compose
from resnet_dsl.language.files import read_text
from resnet_dsl.language.nodes import (
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    check_characters,
    split_lines,
)

Keys: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top: keys of mappings and indices of lists."""


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Plain data with the position of every value (`positions`) and of every key (`key_positions`), and the lines of
    every file that was read (`texts`), the first one first."""

    data: dict[str, Any]
    positions: Mapping[Keys, Position]
    key_positions: Mapping[Keys, Position]
    texts: Mapping[str, Sequence[str]]

    def line(self, position: Position) -> str | None:
        """The source line that a position points into."""
        lines = self.texts.get(position.file, ())
        return lines[position.line - 1] if 1 <= position.line <= len(lines) else None

    def position(self, path: Iterable[str | int], *, key: bool = False) -> Position:
        """Where the value at `path` (or its key) is written, else the nearest place around it.

        A mapping on lines of its own is shown by its key: that is the line to which something has to be added.
        """
        keys = tuple(path)
        if key and keys in self.key_positions:
            return self.key_positions[keys]
        if keys in self.positions:
            return self.positions[keys]
        while keys not in self.positions:  # the top, `()`, has one always
            keys = keys[:-1]
        found, above = self.positions[keys], self.key_positions.get(keys)
        return above if above and above.line < found.line else found

    def text(self, path: Iterable[str | int]) -> str | None:
        """The text that stands at `path`; None where it is no text, or where nothing stands."""
        keys = tuple(path)
        if keys not in self.positions:
            return None
        here: Any = self.data
        for step in keys:
            here = here[step]
        return here if isinstance(here, str) else None

    def diagnostic(
        self,
        code: str,
        message: str,
        path: Iterable[str | int],
        *,
        key: bool = False,
        why: str | None = None,
        hint: str | None = None,
        offset: int = 0,
        length: int | None = None,
        related: tuple[Related, ...] = (),
    ) -> Diagnostic:
        """A finding about the value at `path`, or about its key.

        `offset` and `length` count characters of a scalar's value and narrow the caret to that part of it, as
        expressions need. A path that does not exist (a key that is missing) points to the nearest parent.
        """
        keys = tuple(path)
        position = self.position(keys, key=key)
        line = self.line(position)
        if line is not None and keys in self.positions and not key and (offset or length):
            position = narrow(position, line, offset, length)
        return Diagnostic(code, message, position, line, why, hint, related)


def parse_text(text: str, file: str = "<text>") -> Source:
    """One spec from text. Raises CompileError with every independent finding."""
    lines, root = parse_mapping(text.removeprefix("\ufeff"), file)
    return to_source(root, {file: lines})


def read(path: str | Path) -> Source:
    """One spec file as it stands: `extends` and `include` remain in the data. Raises CompileError."""
    path = Path(path)
    lines, root = parse_mapping(read_text(path), str(path))
    return to_source(root, {str(path): lines})


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    resolve: Callable[[str, Path], Path] | None = None,
) -> Source:
    """A spec with everything that it extends and includes, and then the overrides.

    Args:
        path: the spec's file.
        overrides: `stages.0.depth=5`: dots lead to the place, integers index lists, YAML on the right.
        resolve: finds a name that is no file beside the including one, `resolve(name, including_file)`; it may
            raise CompileError, LookupError or FileNotFoundError.

    Raises:
        CompileError: in any of the files or overrides.
    """
    from resnet_dsl.language.merge import Loader
    from resnet_dsl.language.overrides import apply

    loader = Loader(resolve)
    root = loader.spec(Path(path))
    if overrides:
        root = apply(root, overrides, loader.texts)
    return to_source(root, loader.texts)


def parse_mapping(text: str, file: str) -> tuple[tuple[str, ...], MapNode]:
    """The lines of a text and its tree, whose top is a mapping. Raises CompileError."""
    lines = split_lines(text)
    check_characters(text, file, lines)
    root = compose(text, file, lines)
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        raise CompileError(
            Diagnostic(
                "RD005",
                "there is no spec in this file",
                Position(file, 1, 1),
                lines[0],
                hint="begin with `name: my_net`; `specs/` holds examples",
            )
        )
    if not isinstance(root, MapNode):
        what = "a list" if isinstance(root, ListNode) else "a single value"
        raise CompileError(
            Diagnostic(
                "RD008",
                f"a spec is a mapping of keys to values, and this is {what}",
                root.position,
                lines[root.position.line - 1],
                hint="write `key: value` on each line, beginning with `name: my_net`",
            )
        )
    return lines, root


def to_source(root: MapNode, texts: Mapping[str, Sequence[str]]) -> Source:
    """Plain data and positions; each alias becomes data of its own, so that nothing is shared."""
    positions: dict[Keys, Position] = {}
    key_positions: dict[Keys, Position] = {}

    def plain(node: Node, path: Keys) -> Any:
        positions[path] = node.position
        match node:
            case ScalarNode():
                return node.value
            case ListNode():
                return [plain(item, (*path, index)) for index, item in enumerate(node.items)]
            case MapNode():
                data = {}
                for name, (position, value) in node.entries.items():
                    below = (*path, name)
                    key_positions[below] = position
                    data[name] = plain(value, below)
                return data

    return Source(plain(root, ()), positions, key_positions, texts)
