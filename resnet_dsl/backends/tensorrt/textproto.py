"""The text format of protocol buffers, as far as a configuration needs it.

    Message(("name", "resnet50"), ("kind", Word("KIND_GPU")), ("dims", (3, 224, 224)), ("cuda", Message(…)))

The format is https://protobuf.dev/reference/protobuf/textformat-spec/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Word:
    """A name of an enumeration, which is written without quotes."""

    text: str


class Message:
    """Fields in the order in which they are written; a name may come several times. A tuple is a repeated field."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields

    def lines(self, indent: str = "") -> Iterator[str]:
        """The message's lines, without the braces around it."""
        for key, value in self.fields:
            match value:
                case Message():
                    yield f"{indent}{key} {{"
                    yield from value.lines(indent + "  ")
                    yield f"{indent}}}"
                case tuple():
                    yield f"{indent}{key}: [{', '.join(map(_scalar, value))}]"
                case _:
                    yield f"{indent}{key}: {_scalar(value)}"


Scalar: TypeAlias = str | int | bool | Word
Value: TypeAlias = Scalar | tuple[int, ...] | tuple[str, ...] | Message
Field: TypeAlias = tuple[str, Value]


def entry(key: str, value: Value) -> Message:
    """An entry of a map."""
    return Message(("key", key), ("value", value))


def _scalar(value: Scalar) -> str:
    match value:
        case Word(text):
            return text
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return f'"{"".join(map(_escaped, value.encode()))}"'


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
