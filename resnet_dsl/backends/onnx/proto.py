"""ONNX's messages as bytes, in the wire format of protocol buffers.

Written here and not by the onnx package because a file is streamed (see writer.py), which needs the format anyway, and
because importing that package takes longer than writing a network of a hundred layers. Tests hold every message equal
to the package's own. Numbers of fields and types are those of onnx.proto (https://github.com/onnx/onnx), whose fields
keep their numbers for ever; the format is https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from resnet_dsl.ir.graph import DType

Attribute = int | float | tuple[int, ...]

# TensorProto.DataType
INT64: Final = 7
ELEMENT_TYPES: Final[dict[DType, int]] = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "float16": 10,
    "bfloat16": 16,
    "float8_e4m3fn": 17,
}

# AttributeProto.AttributeType
_FLOAT, _INT, _INTS = 1, 2, 7
# TensorProto.DataLocation
_EXTERNAL = 1

_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """A number in groups of 7 bits, the lowest first, the top bit saying that more follow; a negative one as its 64
    bits."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= 0xFFFF_FFFF_FFFF_FFFF
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def integer(field: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return varint(field << 3) + varint(value)


def real(field: int, value: float) -> bytes:
    """A field that holds a float32."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


def start(field: int, length: int) -> bytes:
    """What goes before the `length` bytes of a field that holds a message, a text or raw bytes."""
    return varint(field << 3 | 2) + varint(length)


def block(field: int, data: bytes) -> bytes:
    """A field that holds a message or raw bytes."""
    return start(field, len(data)) + data


def text(field: int, value: str) -> bytes:
    """A field that holds a text."""
    return block(field, value.encode())


@lru_cache(maxsize=1024, typed=True)
def attribute(name: str, value: Attribute) -> bytes:
    """AttributeProto: name 1, f 2, i 3, ints 8, type 20. A network repeats few of them, so that they are kept."""
    if isinstance(value, tuple):
        return text(1, name) + b"".join(integer(8, item) for item in value) + integer(20, _INTS)
    if isinstance(value, int):
        return text(1, name) + integer(3, value) + integer(20, _INT)
    return text(1, name) + real(2, value) + integer(20, _FLOAT)


def node(
    kind: str, name: str, inputs: Iterable[str], attributes: Iterable[tuple[str, Attribute]]
) -> bytes:
    """NodeProto of one result, called as the node: input 1, output 2, name 3, op_type 4, attribute 5."""
    parts = [text(1, item) for item in inputs]
    parts += (text(2, name), text(3, name), text(4, kind))
    parts += [block(5, attribute(key, value)) for key, value in attributes]
    return b"".join(parts)


def tensor(name: str, kind: int, dims: Sequence[int]) -> bytes:
    """TensorProto without its numbers: dims 1, data_type 2, name 8. Of the fields for them, raw_data is 9."""
    return b"".join(integer(1, size) for size in dims) + integer(2, kind) + text(8, name)


def external(location: str, offset: int, length: int) -> bytes:
    """The rest of a TensorProto whose numbers are in another file: external_data 13, data_location 14."""
    where = (("location", location), ("offset", str(offset)), ("length", str(length)))
    return b"".join(block(13, entry(*item)) for item in where) + integer(14, _EXTERNAL)


def value_info(name: str, kind: int, dims: Iterable[int | str]) -> bytes:
    """ValueInfoProto: name 1, type 2; in it tensor_type 1, with elem_type 1 and shape 2; in it dim 1, each with
    dim_value 1 or, where it is symbolic, dim_param 2."""
    shape = b"".join(
        block(1, text(2, size) if isinstance(size, str) else integer(1, size)) for size in dims
    )
    return text(1, name) + block(2, block(1, integer(1, kind) + block(2, shape)))


def graph(
    name: str, doc: str, body: bytes, inputs: Iterable[bytes], outputs: Iterable[bytes]
) -> bytes:
    """GraphProto: node 1 and initializer 5 (both in `body`, as fields), name 2, doc_string 10, input 11, output 12."""
    ends = [block(11, message) for message in inputs] + [block(12, message) for message in outputs]
    return body + text(2, name) + text(10, doc) + b"".join(ends)


def entry(key: str, value: str) -> bytes:
    """StringStringEntryProto: key 1, value 2."""
    return text(1, key) + text(2, value)


def model_head(ir_version: int, producer: str, version: str, doc: str) -> bytes:
    """ModelProto before its graph (7): ir_version 1, producer_name 2, producer_version 3, doc_string 6."""
    return integer(1, ir_version) + text(2, producer) + text(3, version) + text(6, doc)


def model_tail(opset: int, metadata: Iterable[tuple[str, str]]) -> bytes:
    """ModelProto after its graph: opset_import 8 (of the domain "": version 2), metadata_props 14."""
    imports = block(8, text(1, "") + integer(2, opset))
    return imports + b"".join(block(14, entry(key, value)) for key, value in metadata)
