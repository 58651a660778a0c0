"""A GraphProto under construction: nodes, their attributes, small constants, and names that never collide."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto

from resnet_dsl.ir.graph import DType
from resnet_dsl.weights.store import bfloat16_bits

Attribute = int | float | tuple[int, ...]

ELEMENT_TYPES: dict[DType, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}


class GraphBuilder:
    """Adds nodes to a GraphProto. The protocol buffers are filled directly: onnx.helper takes three times as long."""

    def __init__(self, name: str, opset: int, reserved: Iterable[str]) -> None:
        self.proto = GraphProto(name=name)
        self.opset = opset
        self._used = set(reserved)
        self._tensors: set[str] = set()

    def free(self, name: str) -> str:
        """`name`, or the next name like it that nothing has; taken from now on."""
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name

    def node(self, kind: str, result: str, inputs: Iterable[str], **attributes: Attribute) -> str:
        """One node with one result, which is its own name and its result's; returns it."""
        node = self.proto.node.add(op_type=kind, name=result, input=inputs, output=(result,))
        for name, value in attributes.items():
            if isinstance(value, tuple):
                node.attribute.add(name=name, type=AttributeProto.INTS, ints=value)
            elif isinstance(value, int):
                node.attribute.add(name=name, type=AttributeProto.INT, i=value)
            else:
                node.attribute.add(name=name, type=AttributeProto.FLOAT, f=value)
        return result

    def step(
        self, kind: str, of: str, inputs: Iterable[str], suffix: str = "", **attributes: Attribute
    ) -> str:
        """A node on the way to the result `of`: named after it and after what it does."""
        return self.node(kind, self.free(f"{of}.{suffix or kind.lower()}"), inputs, **attributes)

    def integers(self, *values: int) -> str:
        """A constant vector of int64, one for all uses of the same numbers."""
        name = f"int64[{','.join(map(str, values))}]"
        return self._tensor(
            name, TensorProto.INT64, (len(values),), np.array(values, "<i8").tobytes()
        )

    def scalar(self, value: float, dtype: DType) -> str:
        """A constant number of a floating type, one for all its uses."""
        return self._floats(f"{dtype}({value!r})", np.array(value, np.float32), dtype)

    def filled(self, value: float, size: int, dtype: DType) -> str:
        """A constant vector of one number."""
        return self._floats(f"{dtype}({value!r})[{size}]", np.full(size, value, np.float32), dtype)

    def matrix(self, name: str, rows: list[list[float]], dtype: DType) -> str:
        """A constant matrix, under a name of the caller's."""
        return self._floats(self.free(name), np.array(rows, np.float32), dtype)

    def _floats(self, name: str, values: np.ndarray, dtype: DType) -> str:
        match dtype:
            case "float32":
                data = values.astype("<f4").tobytes()
            case "float16":
                data = values.astype("<f2").tobytes()
            case "bfloat16":
                data = bfloat16_bits(values).astype("<u2").tobytes()
        return self._tensor(name, ELEMENT_TYPES[dtype], values.shape, data)

    def _tensor(self, name: str, kind: int, dims: tuple[int, ...], data: bytes) -> str:
        if name not in self._tensors:
            self._tensors.add(name)
            self.proto.initializer.add(name=name, data_type=kind, dims=dims, raw_data=data)
        return name

    def counts(self) -> tuple[int, int]:
        """Nodes and small constants so far."""
        return len(self.proto.node), len(self.proto.initializer)
