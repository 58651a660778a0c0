"""The ONNX file, written as a stream: memory holds a few tensors, never the model.

A message of protocol buffers is its fields one after another, in any order, and a nested message is a field of known
length. So the graph's nodes go first, then each initialiser with its numbers, made while the one before is written;
the metadata, which holds the digest of the weights, comes last, when they have all gone by.
(https://protobuf.dev/programming-guides/encoding/; onnx.proto: ModelProto.graph is field 7, GraphProto.initializer 5,
TensorProto.raw_data 9.)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

import resnet_dsl
from resnet_dsl.backends.onnx.builder import ELEMENT_TYPES
from resnet_dsl.backends.onnx.emit import emit
from resnet_dsl.backends.onnx.options import OnnxOptions, byte_size
from resnet_dsl.ir.graph import Constant, Graph
from resnet_dsl.weights.store import RecordingWeights, Weights, materialise

_GRAPH, _INITIALIZER, _RAW_DATA = b"\x3a", b"\x2a", b"\x4a"  # field << 3 | 2: length-delimited

# Page size, so that a runtime can map the tensors into memory.
ALIGNMENT = 4096
# Small tensors are made in batches of about this size: handing one over costs more than making it.
_BATCH_BYTES = 1 << 20
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
    emitted = emit(graph, options)
    nodes, small = len(emitted.graph.node), len(emitted.graph.initializer)
    body = emitted.graph.SerializeToString(deterministic=True)
    heads, length = [], len(body)
    offset = 0
    for constant in emitted.constants:
        size = byte_size(constant)
        head = (
            _head(constant, size) if data is None else _reference(constant, location, offset, size)
        )
        offset += size + -size % ALIGNMENT
        heads.append(head)
        length += len(head) if data is not None else len(head) + size

    written = stream.write(emitted.model.SerializeToString(deterministic=True))
    written += stream.write(_GRAPH + varint(length)) + stream.write(body)
    recorded = RecordingWeights(weights)
    tensors = _made(emitted.constants, recorded)
    data_bytes = 0
    for head, tensor in zip(heads, tensors, strict=True):
        written += stream.write(head)
        if data is None:
            written += stream.write(tensor.data)
        else:
            data_bytes += data.write(b"\0" * (-data_bytes % ALIGNMENT)) + data.write(tensor.data)
    digest = recorded.digest()
    written += stream.write(_metadata(graph, digest))
    return OnnxReport(
        opset=emitted.opset,
        nodes=nodes,
        initializers=small + len(emitted.constants),
        model_bytes=written,
        data_bytes=data_bytes,
        weight_bytes=sum(map(byte_size, emitted.constants)),
        weights_digest=digest,
    )


def varint(value: int) -> bytes:
    """A number in groups of 7 bits, the lowest first, the top bit saying that more follow."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _head(constant: Constant, size: int) -> bytes:
    """The initialiser up to its numbers, which follow it in the file."""
    tensor: bytes = _described(constant).SerializeToString(deterministic=True)
    raw = _RAW_DATA + varint(size)
    return _INITIALIZER + varint(len(tensor) + len(raw) + size) + tensor + raw


def _reference(constant: Constant, location: str, offset: int, size: int) -> bytes:
    """The initialiser whose numbers are in the data file."""
    tensor = _described(constant)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    message: bytes = tensor.SerializeToString(deterministic=True)
    return _INITIALIZER + varint(len(message)) + message


def _described(constant: Constant) -> TensorProto:
    return TensorProto(
        name=constant.name, dims=constant.shape, data_type=ELEMENT_TYPES[constant.dtype]
    )


def _metadata(graph: Graph, digest: str) -> bytes:
    model = ModelProto()
    for key, value in (
        ("compiler", f"resnet-dsl {resnet_dsl.__version__}"),
        ("spec_sha256", graph.spec_hash),
        ("weights_sha256", digest),
    ):
        model.metadata_props.add(key=key, value=value)
    message: bytes = model.SerializeToString(deterministic=True)
    return message


def _made(constants: Sequence[Constant], weights: Weights) -> Iterator[NDArray[Any]]:
    """The constants' numbers in order, made by threads a few batches ahead of the reader."""
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "weights") as pool:
        ahead: deque[Future[list[NDArray[Any]]]] = deque()
        try:
            for batch in _batches(constants):
                ahead.append(pool.submit(_make, batch, weights))
                if len(ahead) > threads + 1:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _make(batch: Iterable[Constant], weights: Weights) -> list[NDArray[Any]]:
    made = []
    for constant in batch:
        tensor = materialise(constant, weights)
        made.append(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")))
    return made


def _batches(constants: Sequence[Constant]) -> Iterator[list[Constant]]:
    batch: list[Constant] = []
    size = 0
    for constant in constants:
        batch.append(constant)
        size += byte_size(constant)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
