"""What an ONNX file is, read without loading it: weights are skipped over, so that memory holds names and shapes.

The wire format of protocol buffers is walked over the mapped file (see `proto` for its sources). Whatever bytes are
given, the answer is a model or `Damaged`: nothing is trusted, and work is bounded by the number of fields.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

# TensorProto.DataType, in the order of its numbers in onnx.proto
_TYPES = """undefined float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64
complex64 complex128 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint4 int4 float4_e2m1"""
DATA_TYPES: Mapping[int, str] = dict(enumerate(_TYPES.split()))
_MOST_DIMENSIONS = 64
_MOST_FIELDS = 5_000_000
_LONGEST_TEXT = 100_000

Span = tuple[int, int]
"""Where the bytes of a field begin and end in the file."""


class Damaged(ValueError):  # noqa: N818 - what it says of the file
    """The bytes are no ONNX model, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: a dimension is a number, a name, or `?`."""

    name: str
    data_type: str
    shape: tuple[int | str, ...]


@dataclass(slots=True)
class OnnxFile:
    """What a model says of itself. `metadata` are its properties, `opsets` the versions by domain ("": ONNX's own)."""

    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    doc: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    nodes: Counter[str] = field(default_factory=Counter)
    """How many there are of each operator."""
    weights: Counter[str] = field(default_factory=Counter)
    """How many initialisers there are of each data type."""
    elements: int = 0
    """Numbers in all initialisers together."""
    external: dict[str, int] = field(default_factory=dict)
    """Files that hold weights, and how many bytes of each are needed."""


def read_onnx(path: Path) -> OnnxFile:
    """What the model in a file says of itself. Raises Damaged, and OSError where the file cannot be read."""
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file cannot be mapped
            raise Damaged("it is empty") from error
        with content:
            return _Reader(content).model()


class _Reader:
    """Walks the fields of messages; `content` is bytes, or a file that is mapped."""

    def __init__(self, content: mmap.mmap | bytes) -> None:
        self.content = content
        self.fields = 0

    def model(self) -> OnnxFile:
        found = OnnxFile()
        graphs = 0
        for number, value in self.walk((0, len(self.content))):
            match number, value:
                case 1, int(version):
                    found.ir_version = version
                case 2, tuple(span):
                    found.producer = self.text(span)
                case 3, tuple(span):
                    found.producer_version = self.text(span)
                case 6, tuple(span):
                    found.doc = self.text(span)
                case 7, tuple(span):
                    graphs += 1
                    self.graph(span, found)
                case 8, tuple(span):
                    domain, release = self.pair(span)
                    found.opsets[str(domain or "")] = release if isinstance(release, int) else 0
                case 14, tuple(span):
                    key, text = self.pair(span)
                    found.metadata[str(key or "")] = str(text or "")
                case _:
                    pass
        if not graphs or not found.opsets or not 1 <= found.ir_version < 1000:
            raise Damaged("it holds no graph, or no version")
        return found

    def graph(self, span: Span, found: OnnxFile) -> None:
        for number, value in self.walk(span):
            match number, value:
                case 1, tuple(node):
                    found.nodes["".join(map(self.text, self.inside(node, 4)))] += 1
                case 5, tuple(tensor):
                    self.tensor(tensor, found)
                case 11, tuple(info):
                    found.inputs.append(self.value(info))
                case 12, tuple(info):
                    found.outputs.append(self.value(info))
                case _:
                    pass

    def tensor(self, span: Span, found: OnnxFile) -> None:
        """TensorProto: dims 1, data_type 2, external_data 13; the numbers are passed over."""
        dims: list[int] = []
        kind = 0
        where: dict[str, str] = {}
        for number, value in self.walk(span):
            match number, value:
                case 1, int(size):
                    dims.append(size)
                case 1, tuple(packed):
                    dims += self.packed(packed)
                case 2, int(kind):
                    pass
                case 13, tuple(entry):
                    key, text = self.pair(entry)
                    where[str(key)] = str(text)
                case _:
                    pass
        found.weights[DATA_TYPES.get(kind, f"type {kind}")] += 1
        if len(dims) > _MOST_DIMENSIONS:
            raise Damaged(f"a tensor has {len(dims)} dimensions")
        found.elements += prod(dims)
        if "location" in where:
            numbers = [where.get(key, "0") for key in ("offset", "length")]
            end = sum(int(item) for item in numbers if item.isdecimal() and len(item) < 20)
            found.external[where["location"]] = max(end, found.external.get(where["location"], 0))

    def value(self, span: Span) -> Value:
        """ValueInfoProto: name 1, type 2 → tensor_type 1 → elem_type 1, shape 2 → dim 1 → dim_value 1, dim_param 2."""
        name, kind = "", 0
        shape: list[int | str] = []
        for number, value in self.walk(span):
            if number == 1 and isinstance(value, tuple):
                name = self.text(value)
            elif number == 2 and isinstance(value, tuple):
                for tensor in self.inside(value, 1):
                    kind = next((v for n, v in self.walk(tensor) if n == 1 and isinstance(v, int)), 0)  # fmt: skip
                    for dims in self.inside(tensor, 2):
                        shape = [self.dimension(item) for item in self.inside(dims, 1)]
        return Value(name, DATA_TYPES.get(kind, f"type {kind}"), tuple(shape))

    def dimension(self, span: Span) -> int | str:
        for number, value in self.walk(span):
            if number == 1 and isinstance(value, int):
                return value
            if number == 2 and isinstance(value, tuple):
                return self.text(value)
        return "?"

    def inside(self, span: Span, wanted: int) -> list[Span]:
        """The messages of one field."""
        return [v for n, v in self.walk(span) if n == wanted and isinstance(v, tuple)]

    def pair(self, span: Span) -> tuple[int | str | None, int | str | None]:
        """The fields 1 and 2 of a message, texts or numbers."""
        found = {n: self.text(v) if isinstance(v, tuple) else v for n, v in self.walk(span)}
        return found.get(1), found.get(2)

    def text(self, span: Span) -> str:
        start, end = span
        return self.content[start : min(end, start + _LONGEST_TEXT)].decode("utf-8", "replace")

    def packed(self, span: Span) -> Iterator[int]:
        at, end = span
        while at < end:
            value, at = self.varint(at, end)
            yield value

    def walk(self, span: Span) -> Iterator[tuple[int, int | Span]]:
        """The fields of a message: each its number, and its value, or where its bytes are. Raises Damaged."""
        at, end = span
        while at < end:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise Damaged(f"it has more than {_MOST_FIELDS:,} fields")
            key, at = self.varint(at, end)
            number, kind = key >> 3, key & 7
            value: int | Span
            if kind == 0:
                value, at = self.varint(at, end)
            elif kind in (1, 2, 5):
                length = {1: 8, 5: 4}.get(kind, -1)
                if kind == 2:
                    length, at = self.varint(at, end)
                value, at = (at, at + length), at + length
            else:
                raise Damaged(f"byte {at:,} begins no field")
            if number == 0:
                raise Damaged(f"byte {at:,} is in a field without a number")
            if at > end:
                raise Damaged(f"a field should end at byte {at:,}, and there are {end:,}")
            yield number, value

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """A number, and where it ends."""
        value = shift = 0
        while at < end and shift < 70:
            byte = self.content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
        raise Damaged(f"byte {at:,} is inside a number that does not end")
