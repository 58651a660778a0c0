"""Overrides from the command line: `stages.0.depth=5`, `norm={group: {groups: 32}}`.

The left side leads to a place (dots between keys, integers index lists), the right side is YAML and replaces what is
there. Keys that lead through nothing make the mappings they need. Each override is a line of the pseudo-file `--set`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet_dsl.errors import CompileError, Diagnostic, Position, suggest
from resnet_dsl.language.compose import MAX_DEPTH, compose
from resnet_dsl.language.nodes import ListNode, MapNode, Node, ScalarNode, check_characters

FILE = "--set"


@dataclass(frozen=True, slots=True)
class _Override:
    keys: tuple[str, ...]
    positions: tuple[Position, ...]
    value: Node


def apply(root: MapNode, overrides: Sequence[str], texts: dict[str, Sequence[str]]) -> MapNode:
    """`root` with the overrides in order; their text is added to `texts`. Raises CompileError with all findings."""
    lines = tuple(overrides)
    texts[FILE] = lines
    errors: list[Diagnostic] = []
    for index, text in enumerate(lines):
        try:
            override = _parse(text, index, lines)
            found = _put(root, override, 0, lines)
            assert isinstance(found, MapNode)
            root = found
        except CompileError as error:
            errors += error.diagnostics
    if errors:
        raise CompileError(errors)
    return root


def _parse(text: str, index: int, lines: Sequence[str]) -> _Override:
    def refusal(
        message: str, column: int, width: int, hint: str, why: str | None = None
    ) -> CompileError:
        place = Position(FILE, index + 1, column + 1, max(width, 1))
        return CompileError(Diagnostic("RD030", message, place, text, why, hint))

    if "\n" in text or "\r" in text:
        raise refusal(
            "an override is one line", 0, 1, "write lists and mappings as `[a, b]` and `{a: b}`"
        )
    check_characters("\n" * index + text, FILE, lines)
    left, equals, right = text.partition("=")
    if not equals:
        hint = "write the place, `=`, and the value: `train.lr=0.05`"
        raise refusal("this override has no `=`", 0, len(text), hint)
    keys: list[str] = []
    positions: list[Position] = []
    column = 0
    for part in left.split("."):
        name = part.strip()
        if not name:
            hint = "keys stand between dots, as in `stages.0.depth=5`"
            raise refusal(
                "a key is missing before `=`" if not left.strip() else "a key is empty",
                column,
                1,
                hint,
            )
        keys.append(name)
        begin = column + len(part) - len(part.lstrip())
        positions.append(Position(FILE, index + 1, begin + 1, len(name)))
        column += len(part) + 1
    if keys[0] in ("extends", "include"):
        hint = "write it in the spec"
        raise refusal(f"`{keys[0]}` is read before the overrides", 0, len(left), hint)
    # The value is parsed at its own line and column, so its positions need no correction.
    before = len(left) + 1
    value = compose("\n" * index + " " * before + right, FILE, lines)
    if value is None:
        raise refusal("there is no value after `=`", before, 1, "write `null` if no value is meant")
    if len(keys) + _height(value) > MAX_DEPTH:
        hint = "define the inner part as a block under `blocks:` and use it by name"
        raise refusal(f"this is nested more than {MAX_DEPTH} levels deep", 0, len(left), hint)
    return _Override(tuple(keys), tuple(positions), value)


def _height(node: Node) -> int:
    match node:
        case ScalarNode():
            return 1
        case ListNode():
            return 1 + max(map(_height, node.items), default=0)
        case MapNode():
            return 1 + max((_height(value) for _, value in node.entries.values()), default=0)


def _put(node: Node | None, override: _Override, depth: int, lines: Sequence[str]) -> Node:
    """`node` with the override's value at its keys from `depth` on; None where there is nothing yet."""
    if depth == len(override.keys):
        return override.value
    name, position = override.keys[depth], override.positions[depth]
    above = ".".join(override.keys[:depth])

    def refusal(message: str, hint: str) -> CompileError:
        return CompileError(
            Diagnostic("RD031", message, position, lines[position.line - 1], hint=hint)
        )

    match node:
        case MapNode():
            here, below = node.entries.get(name, (position, None))
            inner = override.keys[depth + 1 : depth + 2]
            if name not in node.entries and inner and _is_index(inner[0]):
                lists = [
                    key for key, (_, value) in node.entries.items() if isinstance(value, ListNode)
                ]
                whole = f"give it as a whole: `{'.'.join(override.keys[: depth + 1])}=[…]`"
                near = suggest(name, lists)
                raise refusal(
                    f"there is no list `{'.'.join(override.keys[: depth + 1])}`", near or whole
                )
            if depth == len(override.keys) - 1:
                here = position
            value = _put(below, override, depth + 1, lines)
            return replace(node, entries={**node.entries, name: (here, value)})
        case ListNode():
            count = len(node.items)
            have = f"`{above}` has {count} entries, 0 to {count - 1}" if count > 1 else (
                f"`{above}` has one entry, 0" if count else f"`{above}` is an empty list"
            )  # fmt: skip
            if not _is_index(name):
                raise refusal(f"`{above}` is a list, and `{name}` is no index", have)
            if len(name) > 9 or int(name) >= count:
                raise refusal(f"there is no entry {name} in `{above}`", have)
            items = list(node.items)
            items[int(name)] = _put(items[int(name)], override, depth + 1, lines)
            return replace(node, items=tuple(items))
        case ScalarNode() if (long := _long_form(node, above, name)) is not None:
            return _put(long, override, depth, lines)
        case ScalarNode() if node.value is not None:
            shown = node.value if isinstance(node.value, str) else str(node.value).lower()
            shown = f"{shown[:40]}…" if len(shown) > 40 else shown
            raise refusal(
                f"`{above}` is the single value `{shown}`, so it has no `{name}`",
                f"replace it as a whole, as in `{above}={{…}}`",
            )
        case _:
            if _is_index(name):
                raise refusal(f"there is no list `{above}`", f"give it as a whole: `{above}=[…]`")
            value = _put(None, override, depth + 1, lines)
            return MapNode({name: (position, value)}, position)


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _long_form(node: ScalarNode, above: str, name: str) -> MapNode | None:
    """What a name alone is short for: `stem: cifar` for `{cifar: {}}`, `train: digits` for
    `{recipe: digits}`."""
    if above == "train" and isinstance(node.value, str):
        return MapNode({"recipe": (node.position, node)}, node.position)
    if node.value == name:
        return MapNode({name: (node.position, MapNode({}, node.position))}, node.position)
    return None
