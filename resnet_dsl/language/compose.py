"""YAML text to a tree of nodes.

PyYAML delivers events; the tree is built here with a stack of our own, so that depth and size are
checked before anything is recursive, aliases are counted at their full size before they are
expanded, and duplicate keys are seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import yaml

from resnet_dsl.errors import CompileError, Position, Related, suggest
from resnet_dsl.language.findings import Findings, TooMuchError
from resnet_dsl.language.nodes import ListNode, MapNode, Node, ScalarNode, split_lines
from resnet_dsl.language.scalars import Scalar, resolve
from resnet_dsl.language.yaml_errors import Opened, explain

MAX_NODES = 100_000
MAX_DEPTH = 64

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it
_TAG = re.compile(r"![^\s,\]}]*")


@dataclass(slots=True, eq=False)
class _Frame:
    """A collection that is still open. `key` is the key whose value comes next; a key that was refused is None."""

    mapping: bool
    flow: bool
    position: Position
    anchor: str | None
    entries: dict[str, tuple[Position, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    expects_value: bool = False
    key: tuple[str, Position] | None = None
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


def compose(text: str, file: str, lines: Sequence[str]) -> Node | None:
    """The tree of the one document in `text`, None where there is none. `lines` is what diagnostics show.

    Raises:
        CompileError: with every independent finding.
    """
    return _Composer(file, lines).run(text)


class _Composer(Findings):
    def __init__(self, file: str, lines: Sequence[str]) -> None:
        super().__init__(file, lines)
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Anchored | _Frame] = {}
        self.total = 0
        self.root: Node | None = None

    def run(self, text: str) -> Node | None:
        documents = 0
        try:
            for event in yaml.parse(text, Loader=_Loader):
                match event:
                    case yaml.ScalarEvent():
                        self.scalar(event)
                    case yaml.AliasEvent():
                        self.alias(event)
                    case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                        self.open(event)
                    case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                        self.close(event)
                    case yaml.DocumentStartEvent():
                        documents += 1
                        if documents > 1:
                            self.refuse(
                                "RD007", "a second document begins here", self.place(event),
                                why="one file holds one spec", hint="move it to a file of its own",
                            )  # fmt: skip
                            break
                    case _:
                        pass
        except yaml.YAMLError as error:
            self.found.append(explain(error, self.file, self.lines, self.opened(error, text)))
        except (ValueError, OverflowError) as error:
            # PyYAML without libyaml, at an escape such as "\UFFFFFFFF".
            self.refuse("RD006", "this is not YAML", Position(self.file, 1, 1), why=str(error))
        except TooMuchError:
            pass  # reported already
        if self.found:
            raise CompileError(self.found)
        return self.root

    def opened(self, error: yaml.YAMLError, text: str) -> Opened | None:
        """The innermost brackets that are open, where the error is that the text ends."""
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        if mark is None or not self.stack or not self.stack[-1].flow:
            return None
        here, *after = split_lines(text)[mark.line :] or [""]
        if here[mark.column :].strip() or any(map(str.strip, after)):
            return None
        frame = self.stack[-1]
        return Opened("mapping" if frame.mapping else "list", frame.position)

    # Events

    def scalar(self, event: yaml.ScalarEvent) -> None:
        position = self.place(event)
        self.count(1, position)
        self.no_tag(event)
        value: Scalar = event.value
        if event.style is None or event.style == "":
            try:
                value = resolve(event.value)
            except OverflowError as error:
                self.refuse("RD016", f"{error} is not a number that can be computed with", position)
                value = 0
        node = ScalarNode(value, position)
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(node, 1, 1)
        if self.at_key():
            self.key(value, event.style, position)
        else:
            self.add(node, 1, 1)

    def at_key(self) -> bool:
        """Whether the next node is a key."""
        return bool(self.stack) and self.stack[-1].mapping and not self.stack[-1].expects_value

    def key(self, value: Scalar, style: str | None, position: Position) -> None:
        frame = self.stack[-1]
        frame.expects_value, frame.key = True, None
        if not isinstance(value, str):
            shown = self.text_at(position)
            if value is None and not shown:
                self.refuse(
                    "RD010", "there is no key before this `:`", position, hint="write `key: value`"
                )
            else:
                kind = {bool: "a boolean", type(None): "null"}.get(type(value), "a number")
                self.refuse(
                    "RD010", f"the key `{shown}` is {kind}; keys are text", position,
                    hint=f'put it in quotes, "{shown}", if it is meant as text',
                )  # fmt: skip
        elif value == "<<" and not style:
            self.refuse(
                "RD012", "`<<` is not part of the language", position,
                why="YAML 1.2 has no merge keys, and they hide where a value comes from",
                hint="use `extends: other.yaml` to build on another spec, or repeat the keys",
            )  # fmt: skip
        elif value in frame.entries:
            first = frame.entries[value][0]
            self.refuse(
                "RD009", f"the key `{value}` is given twice", position,
                why="YAML would drop one of the two values silently", hint="keep one of them",
                related=(Related(first, self.line(first), "first given here"),),
            )  # fmt: skip
        else:
            frame.key = (value, position)

    def alias(self, event: yaml.AliasEvent) -> None:
        position = self.place(event)
        name = event.anchor or ""
        target = self.anchors.get(name)
        if self.at_key():
            self.refuse("RD010", f"the alias `*{name}` is no key; keys are text", position)
            self.stack[-1].expects_value, self.stack[-1].key = True, None
            return
        if isinstance(target, _Anchored):
            self.count(target.size, position)
            self.check_depth(len(self.stack) + target.height, position)
            self.add(replace(target.node, position=position), target.size, target.height)
            return
        if target is None:
            message = f"there is no anchor `&{name}` above this alias"
            hint = suggest(name, self.anchors) or "put text that begins with `*` in quotes"
            self.refuse("RD013", message, position, hint=hint)
        else:
            self.refuse(
                "RD013", f"the alias `*{name}` stands inside its own anchor", position,
                why="the value would contain itself without end",
                related=(Related(target.position, self.line(target.position), "the anchor is here"),),
            )  # fmt: skip
        self.add(ScalarNode(None, position), 1, 1)

    def open(self, event: yaml.CollectionStartEvent) -> None:
        position = self.place(event)
        self.count(1, position)
        self.check_depth(len(self.stack) + 1, position)
        self.no_tag(event)
        if self.at_key():
            self.refuse("RD010", "a list or a mapping is no key; keys are text", position)
        mapping = isinstance(event, yaml.MappingStartEvent)
        frame = _Frame(mapping, bool(event.flow_style), position, event.anchor)
        self.stack.append(frame)
        if event.anchor:
            self.anchors[event.anchor] = frame

    def close(self, event: yaml.CollectionEndEvent) -> None:
        frame = self.stack.pop()
        position = frame.position
        end = event.end_mark
        assert end is not None
        if frame.flow and end.line == position.line - 1:
            position = replace(position, width=max(end.column + 1 - position.column, 1))
        elif frame.entries and not frame.flow:
            position = replace(position, width=next(iter(frame.entries.values()))[0].width)
        node: Node
        node = (
            MapNode(frame.entries, position)
            if frame.mapping
            else ListNode(tuple(frame.items), position)
        )
        if frame.anchor and self.anchors[frame.anchor] is frame:
            self.anchors[frame.anchor] = _Anchored(node, frame.size, frame.height)
        self.add(node, frame.size, frame.height)

    def add(self, node: Node, size: int, height: int) -> None:
        """Put a finished node where it belongs."""
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if not frame.mapping:
            frame.items.append(node)
        elif not frame.expects_value:  # a collection as a key, reported when it was opened
            frame.expects_value, frame.key = True, None
        else:
            if frame.key is not None:
                name, position = frame.key
                frame.entries[name] = (position, node)
            frame.expects_value = False

    # Limits

    def count(self, nodes: int, position: Position) -> None:
        self.total += nodes
        if self.total > MAX_NODES:
            self.refuse(
                "RD015", f"the file has more than {MAX_NODES:,} values with its aliases expanded", position,
                why="aliases of aliases grow exponentially",
                hint="let `depth`, a block or `extends` say what is repeated",
            )  # fmt: skip
            raise TooMuchError

    def check_depth(self, depth: int, position: Position) -> None:
        if depth > MAX_DEPTH:
            self.refuse(
                "RD014", f"this is nested more than {MAX_DEPTH} levels deep", position,
                hint="define the inner part as a block under `blocks:` and use it by name",
            )  # fmt: skip
            raise TooMuchError

    def no_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            assert event.start_mark is not None
            line, column = event.start_mark.line, event.start_mark.column
            found = _TAG.search(self.lines[line], column)
            begin, end = found.span() if found else (column, column + 1)
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.refuse(
                "RD011", f"the tag `{tag}` is not part of the language",
                Position(self.file, line + 1, begin + 1, end - begin),
                why="tags make other programs build objects; a spec holds text, numbers, lists and mappings",
                hint="leave the tag out; text that looks like a number goes in quotes",
            )  # fmt: skip
