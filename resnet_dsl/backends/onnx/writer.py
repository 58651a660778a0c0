"""The ONNX file, written as a stream: memory holds a few tensors, never the model.

A message of protocol buffers is its fields one after another, in any order, and a nested message is a field of known
length. So the graph's nodes go first, then each initialiser with its numbers, made while the one before is written;
the metadata, which holds the digest of the weights, comes last, when they have all gone by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from numpy.typing import NDArray

import resnet_dsl
from resnet_dsl.backends.onnx import proto
from resnet_dsl.backends.onnx.ahead import made_ahead
from resnet_dsl.backends.onnx.emit import emit
from resnet_dsl.backends.onnx.options import OnnxOptions, byte_size, constants_of, ir_version
from resnet_dsl.ir.graph import Constant, Graph
from resnet_dsl.weights.store import RecordingWeights, Weights

# ModelProto.graph, GraphProto.initializer, TensorProto.raw_data
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9

# Page size, so that a runtime can map the tensors of a data file into memory.
ALIGNMENT = 4096
_DEFAULTS = OnnxOptions()


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """What was written. Sizes in bytes; `initializers` counts weights and small constants."""

    opset: int
    nodes: int
    initializers: int
    model_bytes: int
    data_bytes: int
    weight_bytes: int
    weights_digest: str


def write_model(
    graph: Graph,
    weights: Weights,
    stream: BinaryIO,
    options: OnnxOptions = _DEFAULTS,
    *,
    data: BinaryIO | None = None,
    location: str = "",
) -> OnnxReport:
    """Write the graph with its numbers to `stream`; where `data` is given (see `options.needs_external_data`), the
    weights go there, and the model refers to them by `location`, the data file's name beside the model.

    The same graph, weights and options give the same bytes. Raises CompileError as `emit` and `materialise` do.
    """
    recorded = RecordingWeights(weights)
    constants = constants_of(graph)
    weight_bytes = sum(map(byte_size, constants))
    version = resnet_dsl.__version__
    with made_ahead(constants, recorded) as tensors:
        emitted = emit(graph, options)
        heads = list(map(_head, constants) if data is None else _references(constants, location))
        length = len(emitted.graph) + sum(map(len, heads)) + (weight_bytes if data is None else 0)
        written = stream.write(
            proto.model_head(ir_version(emitted.opset), "resnet-dsl", version, graph.doc)
        )
        written += stream.write(proto.start(_GRAPH, length)) + stream.write(emitted.graph)
        if data is None:
            written += _write_inside(stream, heads, tensors)
            data_bytes = 0
        else:
            written += stream.write(b"".join(heads))
            data_bytes = _write_aligned(data, tensors)
    digest = recorded.digest()
    metadata = (
        ("compiler", f"resnet-dsl {version}"),
        ("spec_sha256", graph.spec_hash),
        ("weights_sha256", digest),
    )
    written += stream.write(proto.model_tail(emitted.opset, metadata))
    return OnnxReport(
        opset=emitted.opset,
        nodes=emitted.nodes,
        initializers=emitted.initializers + len(constants),
        model_bytes=written,
        data_bytes=data_bytes,
        weight_bytes=weight_bytes,
        weights_digest=digest,
    )


def _write_inside(stream: BinaryIO, heads: Iterable[bytes], tensors: Iterator[NDArray[Any]]) -> int:
    """Each initialiser and its numbers; returns the bytes written."""
    return sum(
        stream.write(head) + stream.write(tensor.data)
        for head, tensor in zip(heads, tensors, strict=True)
    )


def _write_aligned(data: BinaryIO, tensors: Iterator[NDArray[Any]]) -> int:
    """The numbers alone, each from the start of a page; returns the bytes written."""
    written = 0
    for tensor in tensors:
        written += data.write(b"\0" * (-written % ALIGNMENT)) + data.write(tensor.data)
    return written


def _head(constant: Constant) -> bytes:
    """The initialiser up to its numbers, which follow it in the file."""
    size = byte_size(constant)
    head = _described(constant) + proto.start(_RAW_DATA, size)
    return proto.start(_INITIALIZER, len(head) + size) + head


def _references(constants: Iterable[Constant], location: str) -> Iterator[bytes]:
    """Each initialiser with the place of its numbers in the data file."""
    offset = 0
    for constant in constants:
        size = byte_size(constant)
        place = proto.external(location, offset, size)
        yield proto.block(_INITIALIZER, _described(constant) + place)
        offset += size + -size % ALIGNMENT


def _described(constant: Constant) -> bytes:
    return proto.tensor(constant.name, proto.ELEMENT_TYPES[constant.dtype], constant.shape)
